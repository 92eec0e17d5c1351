# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Images and labels in a folder of the user."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from monai.data import load_decathlon_datalist

__all__ = ["folder_cases"]

_SECTIONS = ("validation", "training", "test")
_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"), (".", "."))
_VOLUMES = (".nii.gz", ".nii")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def folder_cases(folder: str | os.PathLike, *, section: str | None = None) -> list[dict[str, Any]]:
    """
    List the images of a folder, with their labels where there are any.

    Known layouts, the first that fits: a Decathlon ``dataset.json``; NIfTI files in ``imagesTr`` and ``labelsTr``, or
    in ``images`` and ``labels``, with the same names; NIfTI files in the folder itself, without labels. Pictures (PNG,
    JPEG, BMP, TIFF) can take the place of NIfTI files; the suffix of a label can differ from that of its image. NIfTI
    files that end in ``_0000``, ``_0001`` and so on are the channels of one image, as in nnU-Net.

    Args:
        folder: folder of the data.
        section: section of ``dataset.json``; ``None`` for "validation", else "training", else "test".

    Returns:
        a dictionary for each case: ``image``, a path or the paths of its channels, and ``label``, a path, if there is
        one.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If nothing in it fits, the section is missing, or only some of the images have labels.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"data folder {str(root)!r} does not exist.")
    if (root / "dataset.json").is_file():
        return _decathlon(root / "dataset.json", section)
    if section is not None:
        raise ValueError(f"section={section!r} names a part of a dataset.json, but {str(root)!r} has none.")
    for images, labels in _FOLDERS:
        if files := _files(root / images):
            return _paired(files, {} if labels == images else _files(root / labels), root / labels)
    there = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
    raise ValueError(
        f"data folder {str(root)!r} holds no cases: it needs a dataset.json (Decathlon), NIfTI files or pictures in "
        f"imagesTr and labelsTr or in images and labels, or such files without labels; it has {there}."
    )


def _decathlon(datalist_file: Path, section: str | None) -> list[dict[str, Any]]:
    content = json.loads(datalist_file.read_text(encoding="utf-8"))
    wanted = [section] if section else [name for name in _SECTIONS if content.get(name)]
    if not wanted or not content.get(wanted[0]):
        filled = [key for key, value in content.items() if isinstance(value, list) and value]
        raise ValueError(f"{str(datalist_file)!r} has no cases in {section or ', '.join(_SECTIONS)}; it has {filled}.")
    return load_decathlon_datalist(str(datalist_file), True, wanted[0])


def _files(folder: Path) -> dict[str, list[str]]:
    """Files of each case by its name, one file for each channel."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        suffix = next((s for s in (*_VOLUMES, *_PICTURES) if path.name.lower().endswith(s)), None)
        if suffix and not path.name.startswith("."):
            name = path.name[: -len(suffix)]
            # The number of a picture is that of a case, not of a channel.
            channel = _CHANNEL.fullmatch(name) if suffix in _VOLUMES else None
            found.setdefault(channel[1] if channel else name, []).append(str(path))
    return found


def _paired(images: dict[str, list[str]], labels: dict[str, list[str]], where: Path) -> list[dict[str, Any]]:
    if labels and (alone := [name for name in images if name not in labels]):
        raise ValueError(
            f"{len(alone)} of {len(images)} images have no label of the same name in {str(where)!r}, "
            f"{alone[0]!r} for one."
        )
    return [
        {
            "image": files[0] if len(files) == 1 else files,
            **({"label": labels[name][0]} if labels else {}),
        }
        for name, files in images.items()
    ]
