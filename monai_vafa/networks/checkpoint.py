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
_UNETR_MAY_BE_EXTRA = frozenset(
    {
        "vit.patch_embedding.cls_token",
        "encoder2.blocks.0.1.conv3.conv.weight",
        "encoder2.blocks.1.1.conv3.conv.weight",
        "encoder3.blocks.0.1.conv3.conv.weight",
    }
)
# MONAI 1.6 makes these for a cross attention that UNETR doesn't have; MONAI 0.7 didn't make them.
_UNETR_MAY_BE_MISSING = frozenset(
    f"vit.blocks.{block}.norm_cross_attn.{name}" for block in range(12) for name in ("weight", "bias")
)

# The authors' trainers store NumPy numbers beside the weights: losses (UNETR++, with nnFormer's trainer), accuracies
# (UNETR). Reading a number runs no code, and arrays are not admitted. NumPy 2 renamed the module, hence two names.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMPY_NUMBERS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
]


# Networks with published checkpoints.
_FORMS: dict[str, Callable[..., torch.nn.Module]] = {
    "unetr_synapse": lambda out_channels=14: UNETR(1, out_channels, img_size=(96, 96, 96), proj_type="perceptron"),
    "unetrpp_synapse": UNETRPP.synapse,
    "unetrpp_acdc": UNETRPP.acdc,
}


def load_checkpoint(network: Network, path: str | os.PathLike, *, key: str | None = None) -> Network:
    """
    Load a checkpoint into a network, strictly.

    Either all weights are loaded or none. File and network may differ in this, and nothing else:

    - the prefix ``module.`` of parallel training;
    - names of a shared tensor, of which the file needs only one (safetensors files often have only one);
    - for MONAI's UNETR, four names that MONAI 0.7 wrote and 24 that it didn't, none of which affects the result.

    Args:
        network: loaded in place.
        path: file with a state dict, or with one under ``"model"``, ``"state_dict"`` or ``"model_state_dict"``; read
            with ``weights_only=True``, so that no code of the file runs. Or a ``.safetensors`` file, which needs the
            package safetensors.
        key: key of the state dict to try before these, as in ``load_dict`` of MONAI's ``CheckpointLoader``.

    Returns:
        the network.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImportError: If the file is a ``.safetensors`` file and the package safetensors is missing.
        ValueError: If the file has no weights, or those of another network: names the keys.
    """
    path = os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {path!r} does not exist or is not a file.")
    own = network.state_dict(keep_vars=True)
    state = _without_prefix(_state_dict(_read(path), path, key), own)
    unetr = isinstance(network, UNETR)
    may_be_extra, may_be_missing = (_UNETR_MAY_BE_EXTRA, _UNETR_MAY_BE_MISSING) if unetr else ((), ())
    state = {key: value for key, value in state.items() if key in own or key not in may_be_extra}
    _complete_shared(state, own, path)
    problems = {
        "missing in the file": [key for key in own if key not in state and key not in may_be_missing],
        "unknown to the network": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {_shape(state[key])} for {_shape(own[key])}"
            for key in own
            if key in state and _shape(state[key]) != _shape(own[key])
        ],
    }
    if any(problems.values()):
        found = "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
            for what, keys in problems.items()
            if keys
        )
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
        path: file to read, see :py:func:`load_checkpoint`.
        output: file to write, such as ``bundles/unetr_inference/models/model.pt``; folders are made, and an existing
            file is replaced when the new one is complete.
        network: ``"unetr_synapse"``, ``"unetrpp_synapse"`` or ``"unetrpp_acdc"``.
        out_channels: number of classes, with background; ``None`` for the published one (14, 14, 4).

    Returns:
        path of the written file, a state dict.

    Raises:
        FileNotFoundError: If ``path`` does not exist.
        ImportError: If it is a ``.safetensors`` file and the package safetensors is missing.
        ValueError: If the network is unknown, or the file is not one of its checkpoints: names the keys.
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


def _without_prefix(state: dict[str, Any], own: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Remove the prefix of parallel training, unless the network has it too."""
    prefix = "module."
    if any(key.startswith(prefix) for key in own) or not all(key.startswith(prefix) for key in state):
        return state
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _complete_shared(state: dict[str, Any], own: Mapping[str, torch.Tensor], path: str) -> None:
    """Give all names of a shared tensor the value that the file has for one of them, in place."""
    names: dict[int, list[str]] = {}
    for key, value in own.items():
        names.setdefault(id(value), []).append(key)
    differing = []
    for shared in names.values():
        present = [key for key in shared if key in state]
        if len(shared) == 1 or not present:
            continue
        if any(not _same(state[key], state[present[-1]]) for key in present):
            differing.append(" and ".join(present))
        state.update({key: state[present[-1]] for key in shared if key not in state})
    if differing:
        # load_state_dict accepts this silently, although such a network can't have written the file.
        warnings.warn(
            f"checkpoint {path!r} has different values for {len(differing)} tensors that are one in the "
            f"network ({', '.join(differing[:2])}{', ...' if len(differing) > 2 else ''}): the last value counts.",
            stacklevel=3,
        )


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return one is other
    return one.shape == other.shape and bool((one == other).all())
