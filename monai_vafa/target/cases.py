# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The cases that a bundle is attacked on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.utils import ensure_tuple

from monai_vafa.data.folder import find_cases, warn_of_gaps

from .config import Parts

logger = logging.getLogger(__name__)

Items = list[dict[str, Any]]


def cases_of_config(parts: Parts, *, image_key: str, label_key: str, file_keys: Sequence[str]) -> Items:
    """Cases that a config names, with the labels of its ``dataset_dir`` if it names images alone."""
    id_ = parts.find("data")
    problem = "names no cases here"
    items: Items = []
    if id_ is not None:
        try:
            data = parts.build("data", id_)
        except ValueError as error:
            logger.warning("%s", error)
            data = None
        if isinstance(data, Sequence) and all(isinstance(item, Mapping) for item in data):
            items = [dict(item) for item in data]
    for item in items:
        if image_key not in item and all(key in item for key in file_keys):
            item[image_key] = [item[key] for key in file_keys]
    if items and (lost := [path for path in _files(items[0], image_key) if not Path(path).exists()]):
        items, problem = [], f"names {lost[0]!r}, which does not exist"
    if not items:
        raise ValueError(f"bundle {parts.name}: its config {problem}. Give dataset_dir, a folder of images and labels.")
    if not any(label_key in item for item in items):
        labels = _labels_in(parts.optional("dataset_dir"))
        found = [labels.get(_key(_files(item, image_key))) for item in items]
        items = [
            item if label is None else {**item, label_key: label} for item, label in zip(items, found, strict=True)
        ]
        if without := found.count(None):
            logger.warning("no labels found for %d of %d images of the config of %s", without, len(items), parts.name)
    return items


def cases_of_folder(
    dataset_dir: str | os.PathLike,
    *,
    section: str | None,
    channels: int | None,
    image_key: str,
    label_key: str,
    name: str,
    config_cases: Callable[[str], Items],
) -> Items:
    """Cases of a folder, see :meth:`monai_vafa.target.BundleTarget.cases`."""
    root = Path(dataset_dir).expanduser().resolve()
    found: Items = []
    problem = ""
    try:
        found = find_cases(root, section=section, channels=channels)
    except ValueError as error:
        if section is not None:
            raise
        problem = str(error)
    if section is None and not any("label" in item for item in found):
        try:
            own = config_cases(str(root))
        except ValueError as error:
            logger.debug("%s", error)
            own = []
        if own and all(_is_in(root, path) for item in own for path in _files(item, image_key)):
            warn_of_gaps(root, own, label_key)
            return own
    if not found:
        raise ValueError(f"{problem} Nor does the config of {name} find its cases there.")
    warn_of_gaps(root, found)
    keys = {"image": image_key, "label": label_key}
    return [{keys.get(key, key): value for key, value in item.items()} for item in found]


def _labels_in(dataset_dir: Any) -> dict[tuple[Path, ...], Any]:
    """Files of an image -> label, for the labelled images of a folder."""
    if not isinstance(dataset_dir, (str, os.PathLike)):
        return {}
    try:
        cases = find_cases(dataset_dir)
    except (FileNotFoundError, ValueError) as error:
        logger.warning("labels are not looked for: %s", error)
        return {}
    return {_key(_files(case, "image")): case["label"] for case in cases if "label" in case}


def _key(files: Sequence[str]) -> tuple[Path, ...]:
    return tuple(Path(path).resolve() for path in files)


def _files(item: Mapping[str, Any], image_key: str) -> list[str]:
    return [os.fspath(path) for path in ensure_tuple(item.get(image_key, ())) if isinstance(path, (str, os.PathLike))]


def _is_in(root: Path, path: str) -> bool:
    return Path(path).exists() and Path(path).resolve().is_relative_to(root)
