# SPDX-License-Identifier: Apache-2.0
"""Convert a published checkpoint to the ``model.pt`` of a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from monai.networks.nets import UNETR

from monai_vafa.atomic import write_torch

from .checkpoint import load_checkpoint
from .unetrpp import UNETRPP

# Networks with published checkpoints.
_FORMS: dict[str, Callable[..., torch.nn.Module]] = {
    "unetr_synapse": lambda out_channels=14: UNETR(1, out_channels, img_size=(96, 96, 96), proj_type="perceptron"),
    "unetrpp_synapse": UNETRPP.synapse,
    "unetrpp_acdc": UNETRPP.acdc,
}


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
