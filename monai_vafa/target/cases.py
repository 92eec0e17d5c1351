# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The cases that a bundle is attacked on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.utils import ensure_tuple

from monai_vafa.data import folder_cases

from .configs import open_workflow
from .lookup import Parts
from .scripts import scripts_of

__all__ = ["check_items", "config_items", "find_cases"]

logger = logging.getLogger(__name__)

Items = list[dict[str, Any]]


def config_items(
    parts: Parts,
    dataset_dir: str | None,
    *,
    folder: Path,
    files: Sequence[Path],
    overrides: Mapping[str, Any],
    image_key: str,
    file_keys: Sequence[str],
) -> Items | None:
    """
    Cases that a config names.

    Args:
        parts: of the bundle.
        dataset_dir: stands in for the config's own; ``None`` leaves that.
        folder: of the bundle.
        files: its config files.
        overrides: id -> value, with which they were read.
        image_key: key of the image.
        file_keys: keys of its files, which come as a list under ``image_key`` too.

    Returns:
        a dictionary per case, or ``None`` where there are none, with a warning when they could not be read.
    """
    if dataset_dir is not None:
        again = {**overrides, "dataset_dir": dataset_dir}
        workflow = open_workflow(folder, files, device=torch.device("cpu"), overrides=again)
        parts = Parts(workflow, name=parts.name, ids=parts.ids)
    id_ = parts.find("data")
    if id_ is None:
        return None
    try:
        with scripts_of(folder):
            data = parts.build("data", id_)
    except ValueError as error:
        logger.warning("%s", error)
        return None
    if not isinstance(data, Sequence) or not all(isinstance(item, Mapping) for item in data):
        return None
    items = [dict(item) for item in data]
    for item in items:
        if image_key not in item and all(key in item for key in file_keys):
            item[image_key] = [item[key] for key in file_keys]
    return items or None


def check_items(items: Items | None, *, image_key: str, name: str) -> Items:
    """
    Refuse cases of somebody else's machine.

    Args:
        items: of the config.
        image_key: key of the image.
        name: of the bundle, for messages.

    Returns:
        ``items``.

    Raises:
        ValueError: When there are none, or the first one's files do not exist.
    """
    lost = [path for path in _files(items[0], image_key) if not Path(path).exists()] if items else []
    if not items or lost:
        named = f"its config names {lost[0]!r}, which does not exist" if lost else "its config names no cases here"
        raise ValueError(f"bundle {name}: {named}. Give dataset_dir, a folder of images and labels.")
    return items


def find_cases(
    dataset_dir: str | os.PathLike,
    *,
    section: str | None,
    image_key: str,
    label_key: str,
    read_items: Callable[[str], Items | None],
    name: str,
) -> Items:
    """
    Cases of a folder, see :meth:`Target.cases`.

    Args:
        dataset_dir: the folder.
        section: section of its ``dataset.json``.
        image_key: key of the image.
        label_key: key of the label.
        read_items: the config's cases with that ``dataset_dir``.
        name: of the bundle, for messages.

    Raises:
        FileNotFoundError: When the folder does not exist.
        ValueError: When it holds nothing that fits.
    """
    root = Path(dataset_dir).expanduser().resolve()
    found: Items = []
    problem = ""
    try:
        found = folder_cases(root, section=section)
    except FileNotFoundError:
        raise
    except ValueError as error:
        if section is not None:
            raise
        problem = str(error)
    if not found or not any("label" in item for item in found):
        own = read_items(str(root)) if section is None else None
        if own and all(_is_in(root, path) for item in own for path in _files(item, image_key)):
            return own
    if not found:
        raise ValueError(f"{problem} Nor does the config of {name} find its cases there.")
    keys = {"image": image_key, "label": label_key}
    return [{keys.get(key, key): value for key, value in item.items()} for item in found]


def _files(item: Mapping[str, Any], image_key: str) -> list[str]:
    return [os.fspath(path) for path in ensure_tuple(item.get(image_key, ())) if isinstance(path, (str, os.PathLike))]


def _is_in(root: Path, path: str) -> bool:
    return Path(path).is_file() and Path(path).resolve().is_relative_to(root)
