# SPDX-License-Identifier: Apache-2.0
"""Data lists of the two public data sets of the paper, with its splits. Both require registration to download."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

# Synapse: 18 / 12 volumes, as in the paper's code and in most work on it. ACDC: 70 / 10 / 20 patients, the split of
# nnFormer, which the UNETR++ and VAFA papers follow.
_SETS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
SYNAPSE_CLASSES, ACDC_CLASSES = (tuple(_SETS[name]["classes"]) for name in ("synapse", "acdc"))


def synapse_datalist(dataset_dir: str | os.PathLike) -> dict[str, list[dict[str, str]]]:
    """
    Synapse / BTCV multi-organ CT: 30 volumes, 14 classes (:data:`SYNAPSE_CLASSES`).

    Args:
        dataset_dir: folder with ``img0001.nii.gz`` ... and ``label0001.nii.gz`` ... at any depth.

    Returns:
        ``"training"`` (18) and ``"validation"`` (12): lists of ``{"image": path, "label": path}``.

    Raises:
        FileNotFoundError: If a volume or its label is missing; names the files.
    """
    found = _files_by_name(dataset_dir)
    return {
        section: _pairs(found, {f"img{n:04d}.nii.gz": f"label{n:04d}.nii.gz" for n in numbers}, dataset_dir)
        for section, numbers in _SETS["synapse"].items()
        if section != "classes"
    }


def acdc_datalist(dataset_dir: str | os.PathLike) -> dict[str, list[dict[str, str]]]:
    """
    ACDC cardiac cine-MRI: the two labelled frames of 100 patients, 4 classes (:data:`ACDC_CLASSES`).

    Args:
        dataset_dir: folder with ``patient001_frame01.nii.gz`` ... and ``..._gt.nii.gz`` at any depth, as the
            challenge distributes them.

    Returns:
        ``"training"`` (70 patients), ``"validation"`` (10) and ``"test"`` (20): lists of
        ``{"image": path, "label": path}``, two per patient.

    Raises:
        FileNotFoundError: If a patient or a label is missing; names the files.
    """
    found = _files_by_name(dataset_dir)
    frames: dict[int, list[str]] = {}
    for name in sorted(found):
        if match := re.fullmatch(r"patient(\d{3})_frame\d{2}\.nii\.gz", name):
            frames.setdefault(int(match[1]), []).append(name)
    split: dict[str, dict[str, str]] = {"training": {}, "validation": {}, "test": {}}
    for patient in range(1, 101):
        section = next((other for other in ("test", "validation") if patient in _SETS["acdc"][other]), "training")
        for name in frames.get(patient) or [f"patient{patient:03d}_frame01.nii.gz"]:
            split[section][name] = name.replace(".nii.gz", "_gt.nii.gz")
    return {section: _pairs(found, wanted, dataset_dir) for section, wanted in split.items()}


def _files_by_name(dataset_dir: str | os.PathLike) -> dict[str, Path]:
    return {path.name: path for path in Path(dataset_dir).rglob("*.nii.gz")}


def _pairs(
    found: Mapping[str, Path], wanted: Mapping[str, str], dataset_dir: str | os.PathLike
) -> list[dict[str, str]]:
    missing = [name for pair in wanted.items() for name in pair if name not in found]
    if missing:
        some = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        raise FileNotFoundError(f"dataset_dir={os.fspath(dataset_dir)!r} lacks {len(missing)} files: {some}.")
    return [{"image": str(found[image]), "label": str(found[label])} for image, label in wanted.items()]
