# SPDX-License-Identifier: Apache-2.0
"""Load the weights of a checkpoint into a network, or say what doesn't fit; write those of published ones anew."""

from __future__ import annotations

import importlib
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from monai.networks.nets import UNETR

from monai_vafa.atomic import write_torch

from .unetrpp import UNETRPP

Network = TypeVar("Network", bound=torch.nn.Module)

# Keys under which a file may keep its state dict, in the order of the search.
_WRAPPERS = ("model", "state_dict", "model_state_dict")

# MONAI 0.7, with which the authors trained UNETR, made these and never used them; MONAI 1.6 doesn't make them.
_UNETR_MAY_BE_EXTRA = {
    "vit.patch_embedding.cls_token",
    *(f"encoder{block}.conv3.conv.weight" for block in ("2.blocks.0.1", "2.blocks.1.1", "3.blocks.0.1")),
}
# MONAI 1.6 makes these for a cross attention that UNETR doesn't have; MONAI 0.7 didn't make them.
_UNETR_MAY_BE_MISSING = {f"vit.blocks.{i}.norm_cross_attn.{name}" for i in range(12) for name in ("weight", "bias")}

# The authors' trainers store NumPy numbers beside the weights: losses (UNETR++, with nnFormer's trainer), accuracies
# (UNETR). Reading a number runs no code, and arrays are not admitted. NumPy 2 renamed the module, hence two names.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMPY_NUMBERS: list[Any] = [np.dtype, *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}]
_NUMPY_NUMBERS += [(_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]

# Networks with published checkpoints.
_FORMS: dict[str, Callable[..., torch.nn.Module]] = {
    "unetr_synapse": lambda out_channels=14: UNETR(1, out_channels, img_size=(96, 96, 96), proj_type="perceptron"),
    "unetrpp_synapse": UNETRPP.synapse,
    "unetrpp_acdc": UNETRPP.acdc,
}


def load_checkpoint(network: Network, path: str | os.PathLike, *, key: str | None = None) -> Network:
    """
    Load a checkpoint into a network, strictly.

    Either all weights are loaded or none. File and network may differ in the prefix ``module.`` of parallel training;
    in the names of a shared tensor, of which one will do; and, for MONAI's UNETR, in four names that MONAI 0.7 wrote
    and 24 that it didn't, none of which affects the result.

    Args:
        network: loaded in place, and returned.
        path: file with a state dict, or with one under ``"model"``, ``"state_dict"`` or ``"model_state_dict"``, of
            which no code runs; or a ``.safetensors`` file, which needs the package safetensors.
        key: key of the state dict to try before these, as in ``load_dict`` of MONAI's ``CheckpointLoader``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImportError: If the file is a ``.safetensors`` file and the package safetensors is missing.
        ValueError: If the file has no weights, or those of another network: names the keys.
    """
    path = os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {path!r} does not exist or is not a file.")
    own = network.state_dict(keep_vars=True)
    state = _state_dict(_read(path), path, key)
    prefix = "module."
    if all(key.startswith(prefix) for key in state) and not any(key.startswith(prefix) for key in own):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    unetr = isinstance(network, UNETR)
    may_be_extra, may_be_missing = (_UNETR_MAY_BE_EXTRA, _UNETR_MAY_BE_MISSING) if unetr else ((), ())
    state = {key: value for key, value in state.items() if key in own or key not in may_be_extra}
    _complete_shared(state, own, path)
    shapes = {key: (_shape(state[key]), _shape(value)) for key, value in own.items() if key in state}
    problems = {
        "missing in the file": [key for key in own if key not in state and key not in may_be_missing],
        "unknown to the network": [key for key in state if key not in own],
        "of another shape": [f"{key} {its} for {due}" for key, (its, due) in shapes.items() if its != due],
    }
    if any(problems.values()):
        found = "; ".join(f"{len(keys)} {what}: {_first(keys, 4)}" for what, keys in problems.items() if keys)
        raise ValueError(
            f"checkpoint {path!r} does not fit {type(network).__name__}: {found}. Build the network that "
            "the file was made for: its class, its sizes and its number of classes."
        )
    network.load_state_dict({key: state.get(key, value) for key, value in own.items()})
    return network


def convert_checkpoint(
    path: str | os.PathLike, output: str | os.PathLike, network: str, out_channels: int | None = None
) -> Path:
    """
    Read a published checkpoint and write its weights alone, with today's names.

    Args:
        path: file to read.
        output: file to write, such as ``bundles/unetr_inference/models/model.pt``, and returned; folders are made, and
            an existing file is replaced when the new one is complete.
        network: ``"unetr_synapse"``, ``"unetrpp_synapse"`` or ``"unetrpp_acdc"``; any other is a ValueError.
        out_channels: number of classes, with background; ``None`` for the published one (14, 14, 4).

    Raises: see :func:`load_checkpoint`.
    """
    if network not in _FORMS:
        raise ValueError(f"network={network!r} must be one of {', '.join(_FORMS)}.")
    form = _FORMS[network]
    model = load_checkpoint(form() if out_channels is None else form(out_channels=out_channels), path)
    write_torch(Path(output), model.state_dict())
    return Path(output)


def _read(path: str) -> Any:
    """Content of a file of weights, read so that no code of it runs."""
    safetensors = Path(path).suffix == ".safetensors"
    try:
        if safetensors:
            return importlib.import_module("safetensors.torch").load_file(path)
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise ImportError(f"checkpoint {path!r} needs the package safetensors: pip install safetensors") from error
    # A damaged file can raise anything from RuntimeError to OSError.
    except Exception as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign is None:
            kind = "safetensors file" if safetensors else "file of weights"
            reason = f"{type(error).__name__}: {error}".partition(" In PyTorch 2.6")[0]
            raise ValueError(f"checkpoint {path!r} can't be read as a {kind}: {reason}") from error
        raise ValueError(
            f"checkpoint {path!r} can't be read: beside weights it holds objects ({foreign[1]}): building "
            "these could run code of the file. If you trust it, read it once with torch.load(..., weights_only=False) "
            "in the program that wrote it, and torch.save its state dict alone."
        ) from error


def _state_dict(content: Any, path: str, key: str | None) -> dict[str, Any]:
    """The state dict in the content of a file."""
    candidates = [content]
    if isinstance(content, Mapping):
        candidates = [content[name] for name in (key, *_WRAPPERS) if name in content] + candidates
    for candidate in candidates:
        if isinstance(candidate, Mapping) and any(isinstance(value, torch.Tensor) for value in candidate.values()):
            return {str(key): value for key, value in candidate.items()}
    raise ValueError(f"checkpoint {path!r} has no state dict, nor one under {', '.join(_WRAPPERS)}.")


def _complete_shared(state: dict[str, Any], own: Mapping[str, torch.Tensor], path: str) -> None:
    """Give all names of a shared tensor the value that the file has for one of them, in place."""
    names: dict[int, list[str]] = {}
    for key, value in own.items():
        names.setdefault(id(value), []).append(key)
    differing = []
    for shared in names.values():
        if present := [key for key in shared if key in state]:
            last = state[present[-1]]
            if not all(_same(state[key], last) for key in present[:-1]):
                differing.append(" and ".join(present))
            state.update({key: last for key in shared if key not in state})
    if differing:
        # load_state_dict accepts this silently, although such a network can't have written the file.
        warnings.warn(
            f"checkpoint {path!r} has different values for {len(differing)} tensors that are one in the "
            f"network ({_first(differing, 2)}): the last value counts.",
            stacklevel=3,
        )


def _first(names: list[str], most: int) -> str:
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return one is other
    return one.shape == other.shape and bool((one == other).all())
