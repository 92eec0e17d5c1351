# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of images and labels, checked before anything is made of them."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import NibabelReader
from monai.transforms import LoadImage
from monai.utils import ensure_tuple

# Volumes are in millimetres, also where a header has other units.
_MILLIMETRES = {"micron": 1e-3, "meter": 1e3}


def check_nifti(image: Any, path: str) -> None:
    """Refuse what would be read as something else: voxels that are no numbers, vectors, volumes without a place."""
    shape, dtype = tuple(image.shape), image.get_data_dtype()
    if dtype.fields is not None or dtype.kind == "c":
        kind = "complex numbers" if dtype.kind == "c" else f"{'/'.join(dtype.fields)} colours"
        raise ValueError(
            f"{path!r} of shape {shape} holds {kind}, not intensities: save one number per voxel, or a channel for "
            "each along a last axis."
        )
    if len(shape) > 4:
        raise ValueError(
            f"{path!r} of shape {shape} holds {len(shape)} axes; an image has up to 4, the last one for channels: save "
            f"numpy.squeeze(voxels, {tuple(axis for axis in range(3, len(shape) - 1))}) of shape (x, y, z, channels)."
        )
    if 0 in shape:
        raise ValueError(f"{path!r} of shape {shape} holds no voxels: remove it.")
    linear = np.asarray(image.affine)[:3, :3]
    if not np.isfinite(linear).all() or abs(np.linalg.det(linear)) < 1e-12:
        raise ValueError(
            f"{path!r} of shape {shape} has the affine {np.asarray(image.affine).tolist()}, so its voxels have no "
            "place or size: save it with the affine of the image that it belongs to."
        )


def check_file(path: str | os.PathLike, loader: LoadImage) -> None:
    """Check what a header tells and whether a file can be read here; damaged files show when they are loaded."""
    name = os.fspath(path)
    if Path(name).is_dir():
        readable = any(type(reader).__name__ in ("ITKReader", "PydicomReader") for reader in loader.readers)
    else:
        readable = any(reader.verify_suffix(name) for reader in loader.readers)
    if loader.auto_select and not readable:
        kind = "folders of DICOM files" if Path(name).is_dir() else f"files like {Path(name).name}"
        raise ValueError(f"{name!r} can't be read: there is no reader of {kind}. pip install itk, or save as NIfTI.")
    if name.lower().endswith((".nii", ".nii.gz")) and Path(name).is_file():
        try:
            image = nib.load(name)
        except (nib.filebasedimages.ImageFileError, OSError, ValueError):
            return
        check_nifti(image, name)


def use_checked_reader(loader: LoadImage) -> None:
    """Let a loader read NIfTI files by :class:`CheckedReader`."""
    for i, reader in enumerate(loader.readers):
        if type(reader) is NibabelReader:
            checked = CheckedReader()
            checked.__dict__.update(copy.copy(reader.__dict__))
            loader.readers[i] = checked


class CheckedReader(NibabelReader):
    """MONAI's reader of NIfTI files, for files that :func:`check_nifti` accepts, with units of the header."""

    def read(self, data: Any, **kwargs: Any) -> Any:
        """See :meth:`NibabelReader.read`, which would give a volume without a place the identity."""
        for name in ensure_tuple(data):
            check_nifti(nib.load(name), os.fspath(name))
        return super().read(data, **kwargs)

    def _get_affine(self, img: Any) -> np.ndarray:
        units = img.header.get_xyzt_units()[0] if hasattr(img.header, "get_xyzt_units") else "mm"
        return np.diag([_MILLIMETRES.get(units, 1.0)] * 3 + [1.0]) @ super()._get_affine(img)
