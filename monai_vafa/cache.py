# SPDX-License-Identifier: Apache-2.0
"""Where this package keeps what it makes or fetches once, and how weights are written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

__all__ = ["cache_dir", "write_weights"]


def cache_dir() -> Path:
    """Folder for cached files, made on demand."""
    explicit = os.environ.get("MONAI_VAFA_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(explicit) if explicit else Path(base) / "monai_vafa"
    folder = folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_weights(state: Mapping[str, torch.Tensor], path: Path) -> Path:
    """Write a state dict beside its place, then move it there; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:  # given a path, torch would write its name, and so the process, into the file
            torch.save(state, file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
