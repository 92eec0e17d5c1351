# SPDX-License-Identifier: Apache-2.0
"""The cases that a bundle is attacked on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.utils import ensure_tuple

from monai_vafa.data.folder import find_cases, is_path, warn_of_gaps
from monai_vafa.data.public import OtherDataError

from .config import Parts, causes
from .preprocessing import Preprocessing

logger = logging.getLogger(__name__)

Items = list[dict[str, Any]]


def cases_of_config(parts: Parts, preprocessing: Preprocessing) -> Items:
    """Cases that a config names, with the labels of its ``datalist`` or ``dataset_dir`` if it names images alone."""
    image_key, label_key, file_keys = preprocessing.image_key, preprocessing.label_key, preprocessing.file_keys
    problem = "names no cases here"
    items: Items = []
    try:
        data = parts.optional("data")
        if isinstance(data, Sequence) and all(isinstance(item, Mapping) for item in data):
            items = [dict(item) for item in data]
    except ValueError as error:
        logger.warning("%s", error)
    for item in items:
        if image_key not in item and all(key in item for key in file_keys):
            item[image_key] = [item[key] for key in file_keys]
    if items and (lost := [path for path in _files(items[0], image_key) if not path.exists()]):
        items, problem = [], f"names {str(lost[0])!r}, which does not exist"
    if not items:
        raise ValueError(f"bundle {parts.name}: its config {problem}. Give dataset_dir, a folder of images and labels.")
    if not any(label_key in item for item in items):
        labels = _labels(parts)
        for item in items:
            if (files := _files(item, image_key)) in labels:
                item[label_key] = labels[files]
        if without := sum(label_key not in item for item in items):
            logger.warning("no labels found for %d of %d images of the config of %s", without, len(items), parts.name)
    return items


def cases_of_folder(
    folder: str | os.PathLike, parts: Parts, preprocessing: Preprocessing, section: str | None, channels: int | None
) -> Items:
    """Cases of a folder, see :meth:`monai_vafa.target.BundleTarget.cases`."""
    root = Path(folder).expanduser().resolve()
    there = replace(parts, device=torch.device("cpu"), overrides={**parts.overrides, "dataset_dir": str(root)})
    there.parser.parse()
    if own := _own_list(there, preprocessing, section):
        return own
    try:
        found, problem = find_cases(root, section=section, channels=channels), ""
    except ValueError as error:
        if section is not None:
            raise
        found, problem = [], str(error)
    if section is None and not any("label" in item for item in found):
        try:
            own = cases_of_config(there, preprocessing)
        except ValueError as error:
            logger.debug("%s", error)
        files = [path for item in own for path in _files(item, preprocessing.image_key)]
        if own and all(path.exists() and path.is_relative_to(root) for path in files):
            warn_of_gaps(root, own, preprocessing.label_key)
            return own
    if not found:
        raise ValueError(f"{problem} Nor does the config of {parts.name} find its cases there.")
    warn_of_gaps(root, found)
    return _as_items(found, preprocessing)


def _own_list(parts: Parts, preprocessing: Preprocessing, section: str | None) -> Items:
    """Cases of the data list that a config itself makes of its ``dataset_dir``; none if there are other data in it."""
    try:
        lists = parts.optional("datalist")
    except ValueError as error:
        other = next((cause for cause in causes(error) if isinstance(cause, OtherDataError)), None)
        if other is None:
            raise
        logger.warning("not the data of %s, so what the folder lists is taken: %s", parts.name, other)
        return []
    if lists is None:
        return []
    if section is None:
        return cases_of_config(parts, preprocessing)
    if section not in lists:
        raise ValueError(f"section={section!r} is none of those of {parts.name}: {', '.join(lists)}.")
    return _as_items(lists[section], preprocessing)


def _as_items(cases: Iterable[Mapping[str, Any]], preprocessing: Preprocessing) -> Items:
    """Cases of a list under the keys of the bundle."""
    keys = {"image": preprocessing.image_key, "label": preprocessing.label_key}
    return [{keys.get(key, key): value for key, value in case.items()} for case in cases]


def _labels(parts: Parts) -> dict[tuple[Path, ...], Any]:
    """Files of an image -> label, for the labelled images of a config's data list or folder."""
    try:
        lists, dataset_dir = parts.optional("datalist"), parts.optional("dataset_dir")
        if isinstance(lists, Mapping):
            cases = [case for each in lists.values() for case in each]
        else:
            cases = find_cases(dataset_dir) if is_path(dataset_dir) else []
    except (FileNotFoundError, ValueError) as error:
        logger.warning("labels are not looked for: %s", error)
        return {}
    return {_files(case, "image"): case["label"] for case in cases if "label" in case}


def _files(item: Mapping[str, Any], key: str) -> tuple[Path, ...]:
    return tuple(
        Path(path).resolve() for path in ensure_tuple(item.get(key, ())) if isinstance(path, (str, os.PathLike))
    )
