# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Which file holds the weights of a bundle's network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .lookup import Parts

__all__ = ["find_checkpoint"]


def find_checkpoint(parts: Parts, folder: Path) -> tuple[Path, str | None]:
    """
    Weights file as the config names it, and the key under which the file may keep them.

    The first that there is of: ``ids["checkpoint"]``; a ``CheckpointLoader`` anywhere in the config that loads a
    network and nothing else (others resume a training), is not disabled and does not belong to the training; the ids
    ``checkpoint`` and ``ckpt_path``; ``models/model.pt``. Relative paths start at the bundle.

    Args:
        parts: of the bundle.
        folder: of the bundle.

    Returns:
        path, which need not exist, and key or ``None``.
    """
    if "checkpoint" not in parts.ids:
        for id_, loader in _loaders(parts.parser.get()):
            if not _is_for_use(parts, id_, loader):
                continue
            path = parts.build("checkpoint", f"{id_}#load_path")
            return folder / os.fspath(path), next(iter(loader["load_dict"]))
    named = parts.optional("checkpoint")
    return folder / (os.fspath(named) if isinstance(named, (str, os.PathLike)) else "models/model.pt"), None


def _loaders(config: Any, id_: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(config, dict) and str(config.get("_target_")).rpartition(".")[2] == "CheckpointLoader":
        yield id_, config
        return
    children = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, child in children:
        yield from _loaders(child, f"{id_}#{key}" if id_ else str(key))


def _is_for_use(parts: Parts, id_: str, loader: dict[str, Any]) -> bool:
    if id_.startswith("train#") or len(loader.get("load_dict", {})) != 1:
        return False
    disabled = loader.get("_disabled_", False)
    if isinstance(disabled, str):
        disabled = parts.build("checkpoint", f"{id_}#_disabled_")
    return not (disabled.strip().lower() == "true" if isinstance(disabled, str) else disabled)
