# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Put the weights of a checkpoint into a network, or say what doesn't fit."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TypeVar

import torch

__all__ = ["load_checkpoint"]

Network = TypeVar("Network", bound=torch.nn.Module)


def load_checkpoint(network: Network, path: str | os.PathLike) -> Network:
    """
    Load a checkpoint into a network, strictly.

    Args:
        network: filled in place.
        path: file with a state dict, or with one under ``"model"``, ``"state_dict"`` or ``"model_state_dict"``; read
            with ``weights_only=True``, so that no code of the file runs.

    Returns:
        the network.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file holds no weights, or weights of another network: names the keys.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {os.fspath(path)!r} does not exist.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"checkpoint {os.fspath(path)!r} can't be read as a file of weights: {error}") from error
    if isinstance(content, dict):
        content = next((content[k] for k in ("model", "state_dict", "model_state_dict") if k in content), content)
    if not isinstance(content, dict) or not any(isinstance(v, torch.Tensor) for v in content.values()):
        raise ValueError(f"checkpoint {os.fspath(path)!r} holds no state dict.")
    own = network.state_dict()
    problems = {
        "missing in the file": [key for key in own if key not in content],
        "unknown to the network": [key for key in content if key not in own],
        "of another shape": [
            f"{key} {tuple(content[key].shape)} for {tuple(own[key].shape)}"
            for key in own
            if key in content and content[key].shape != own[key].shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
            for what, keys in problems.items()
            if keys
        )
        raise ValueError(f"checkpoint {os.fspath(path)!r} does not fit {type(network).__name__}: {found}.")
    network.load_state_dict(content)
    return network
