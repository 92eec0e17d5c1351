# SPDX-License-Identifier: Apache-2.0
"""Files of images and labels, checked before anything is made of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import NibabelReader, PydicomReader
from monai.transforms import LoadImage
from monai.utils import ensure_tuple, optional_import

from monai_vafa.data.folder import is_dicom

pydicom, has_pydicom = optional_import("pydicom")

# What tells the place of a slice.
_OF_SLICE = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient")
# Volumes are in millimetres, also where a header has other units.
_MILLIMETRES = {"micron": 1e-3, "meter": 1e3}


def check_nifti(image: Any, path: str) -> None:
    """Refuse what would be read as something else: voxels that are no numbers, vectors, volumes without a place."""
    shape, dtype = tuple(image.shape), image.get_data_dtype()
    if dtype.fields is not None or dtype.kind == "c":
        kind = "complex numbers" if dtype.kind == "c" else f"{'/'.join(dtype.fields)} colours"
        raise ValueError(f"{path!r} of shape {shape} holds {kind}: save one number per voxel and channel.")
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
    series = Path(name).is_dir()
    if loader.auto_select and not any(reader.verify_suffix(name) for reader in loader.readers):
        kind, package = ("folders of DICOM files", "pydicom") if series else (f"files like {Path(name).name}", "itk")
        raise ValueError(f"{name!r} can't be read: no reader of {kind}. pip install {package}, or save as NIfTI.")
    if series and has_pydicom:
        files = [file for file in sorted(Path(name).iterdir()) if is_dicom(file)]
        damaged = [file.name for file in files if not pydicom.misc.is_dicom(file)]
        if damaged or not files:
            what = f"{damaged[0]!r}, which can't be read as DICOM" if damaged else "no DICOM files"
            raise ValueError(f"{name!r} holds {what}: copy its slices again, or save the volume as NIfTI.")
        slices_in_order([pydicom.dcmread(file, specific_tags=list(_OF_SLICE)) for file in files], name)
    if name.lower().endswith((".nii", ".nii.gz")) and Path(name).is_file():
        try:
            image = nib.load(name)
        except (nib.filebasedimages.ImageFileError, OSError, ValueError):
            return
        check_nifti(image, name)


def slices_in_order(slices: Sequence[Any], path: str) -> list[Any]:
    """Slices of a DICOM series by their places, refused if they do not make up one volume."""
    if len(slices) == 1:
        return list(slices)
    if missing := [tag for tag in _OF_SLICE for each in slices if tag not in each]:
        raise ValueError(f"{path!r} holds slices without {missing[0]}, so they have no place: save them as NIfTI.")
    normal = np.cross(*np.reshape(slices[0].ImageOrientationPatient, (2, 3)))
    places = [float(np.dot(normal, each.ImagePositionPatient)) for each in slices]
    steps = np.diff(sorted(places))
    series = len({each.SeriesInstanceUID for each in slices})
    if series > 1 or not np.allclose(steps, np.mean(steps), rtol=0.05, atol=0.01) or 0 in steps.round(3):
        raise ValueError(
            f"{path!r} holds {len(slices)} slices of {series} series, {min(steps):.3g} to {max(steps):.3g} mm apart: a "
            "folder is one image only if it holds one series, each slice once and none missing. Keep these files, or "
            "save the volume as NIfTI."
        )
    return [slices[i] for i in np.argsort(places)]


def label_loader() -> LoadImage:
    """Loads a label as channel-first volume, by checked readers."""
    return use_checked_readers(LoadImage(ensure_channel_first=True))


def use_checked_readers(loader: LoadImage) -> LoadImage:
    """Let a loader read NIfTI by :class:`CheckedNibabelReader` and DICOM by :class:`CheckedPydicomReader`."""
    for i, reader in enumerate(loader.readers):
        for checked in (CheckedNibabelReader, CheckedPydicomReader):
            if type(reader) is checked.__bases__[0]:
                loader.readers[i] = checked()
                loader.readers[i].__dict__.update(reader.__dict__)
    return loader


class CheckedNibabelReader(NibabelReader):
    """MONAI's reader of NIfTI files, for files that :func:`check_nifti` accepts, with units of the header."""

    def read(self, data: Any, **kwargs: Any) -> Any:
        """See :meth:`NibabelReader.read`, which would give a volume without a place the identity."""
        for name in ensure_tuple(data):
            check_nifti(nib.load(name), os.fspath(name))
        return super().read(data, **kwargs)

    def _get_affine(self, img: Any) -> np.ndarray:
        units = img.header.get_xyzt_units()[0] if hasattr(img.header, "get_xyzt_units") else "mm"
        return np.diag([_MILLIMETRES.get(units, 1.0)] * 3 + [1.0]) @ super()._get_affine(img)


class CheckedPydicomReader(PydicomReader):
    """MONAI's reader of DICOM files, which takes the numbers of slices for their order: here their places count."""

    def verify_suffix(self, filename: Any) -> bool:
        """See :meth:`PydicomReader.verify_suffix`, which would accept files of any format."""
        return all(Path(name).is_dir() or is_dicom(Path(name)) for name in ensure_tuple(filename))

    def read(self, data: Any, **kwargs: Any) -> Any:
        """See :meth:`PydicomReader.read`."""
        made = super().read(data, **kwargs)
        if self.has_series:
            for series in made if isinstance(made[0], list) else [made]:
                for number, each in enumerate(slices_in_order(series, os.fspath(ensure_tuple(data)[0]))):
                    each.InstanceNumber = number
        return made
