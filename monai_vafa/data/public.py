# SPDX-License-Identifier: Apache-2.0
"""Data lists of public data sets: the two of the paper, with its splits, and one that anybody can download."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

# Synapse: 18 / 12 volumes, as in the paper's code and in most work on it. ACDC: 70 / 10 / 20 patients, the split of
# nnFormer, which the UNETR++ and VAFA papers follow. Hippocampus: 150 / 50 of the 260 labelled cases of the Decathlon,
# 15 of the 150 (drawn at random) for validation during training.
_SETS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
SYNAPSE_CLASSES, ACDC_CLASSES, HIPPOCAMPUS_CLASSES = (
    tuple(_SETS[name]["classes"]) for name in ("synapse", "acdc", "hippocampus")
)


class OtherDataError(FileNotFoundError):
    """A folder that holds no file at all of a data set."""


def synapse_datalist(dataset_dir: str | os.PathLike) -> dict[str, list[dict[str, str]]]:
    """
    Synapse / BTCV multi-organ CT: 30 volumes, 14 classes (:data:`SYNAPSE_CLASSES`).

    Args:
        dataset_dir: folder with ``img0001.nii.gz`` ... and ``label0001.nii.gz`` ... at any depth.

    Returns:
        ``"training"`` (18) and ``"validation"`` (12): lists of ``{"image": path, "label": path}``.

    Raises:
        FileNotFoundError: If an image or its label is missing; names the files, and where to get them.
    """
    return _numbered("synapse", "img{:04d}.nii.gz", "label{:04d}.nii.gz", dataset_dir)


def hippocampus_datalist(dataset_dir: str | os.PathLike) -> dict[str, list[dict[str, str]]]:
    """
    Hippocampus MR of the Medical Segmentation Decathlon (task 4): 200 crops, 3 classes (:data:`HIPPOCAMPUS_CLASSES`).

    As :func:`synapse_datalist`, with ``"training"`` (135), ``"validation"`` (15) and ``"test"`` (50), of
    ``imagesTr/hippocampus_001.nii.gz`` ... and ``labelsTr`` likewise at any depth, as
    :class:`monai.apps.DecathlonDataset` downloads them.
    """
    name = "hippocampus_{:03d}.nii.gz"
    return _numbered("hippocampus", f"imagesTr/{name}", f"labelsTr/{name}", dataset_dir)


def acdc_datalist(dataset_dir: str | os.PathLike) -> dict[str, list[dict[str, str]]]:
    """
    ACDC cardiac cine-MRI: the two labelled frames of 100 patients, 4 classes (:data:`ACDC_CLASSES`).

    As :func:`synapse_datalist`, with ``"training"`` (70 patients), ``"validation"`` (10), ``"test"`` (20), two images
    each, of ``patient001_frame01.nii.gz`` ... and ``..._gt.nii.gz`` at any depth, as the challenge distributes them.
    """
    found = _files(dataset_dir)
    frames: dict[int, list[str]] = {}
    for name in sorted(found):
        if match := re.fullmatch(r"patient(\d{3})_frame\d{2}\.nii\.gz", name):
            frames.setdefault(int(match[1]), []).append(name)
    split: dict[str, dict[str, str]] = {"training": {}, "validation": {}, "test": {}}
    for patient in range(1, 101):
        section = next((other for other in ("test", "validation") if patient in _SETS["acdc"][other]), "training")
        for name in frames.get(patient) or [f"patient{patient:03d}_frame01.nii.gz"]:
            split[section][name] = name.replace(".nii.gz", "_gt.nii.gz")
    return _pairs("acdc", found, split, dataset_dir)


def _numbered(name: str, image: str, label: str, dataset_dir: str | os.PathLike) -> dict[str, list[dict[str, str]]]:
    """Data list of a set whose files are numbered."""
    sections = [section for section in ("training", "validation", "test") if section in _SETS[name]]
    split = {each: {image.format(n): label.format(n) for n in _SETS[name][each]} for each in sections}
    return _pairs(name, _files(dataset_dir), split, dataset_dir)


def _files(dataset_dir: str | os.PathLike) -> dict[str, Path]:
    """Files by their names, with and without that of their folder."""
    paths = sorted(Path(dataset_dir).rglob("*.nii.gz"))
    return {name: path for path in paths for name in (path.name, f"{path.parent.name}/{path.name}")}


def _pairs(
    name: str, found: Mapping[str, Path], split: Mapping[str, Mapping[str, str]], dataset_dir: str | os.PathLike
) -> dict[str, list[dict[str, str]]]:
    """Images and labels of every section."""
    wanted = [file for pairs in split.values() for pair in pairs.items() for file in pair]
    if missing := [file for file in wanted if file not in found]:
        some = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        sizes = ", ".join(f"{len(pairs)} for {section}" for section, pairs in split.items())
        raise (OtherDataError if len(missing) == len(wanted) else FileNotFoundError)(
            f"dataset_dir={os.fspath(dataset_dir)!r} lacks {len(missing)} of {len(wanted)} files: {some}. "
            f"It needs images and labels of {name}, {sizes}, from {_SETS[name]['source']}."
        )
    return {
        section: [{"image": str(found[image]), "label": str(found[label])} for image, label in pairs.items()]
        for section, pairs in split.items()
    }
