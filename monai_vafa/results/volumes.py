# SPDX-License-Identifier: Apache-2.0
"""Volumes as NIfTI files that lie where the input file lies."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from typing import Any

import nibabel as nib
import numpy as np

# Fields of a NIfTI header that say where the grid lies, beside pixdim.
_PLACE = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)

# Affines are in millimetres here, also of files in other units.
_PER_MM = {"micron": 1e3, "meter": 1e-3}


def nifti_bytes(voxels: np.ndarray, affine: np.ndarray, like: str | os.PathLike | None) -> bytes:
    """A gzipped NIfTI file of channel-first voxels, the same bytes each time; see :meth:`ResultFolder.write_volume`."""
    several = np.moveaxis(voxels if voxels.ndim == 4 else voxels[..., None], 0, -1)
    data = np.ascontiguousarray(voxels[0] if len(voxels) == 1 else several)
    image, old = nib.Nifti1Image(data, affine), None
    with suppress(Exception):  # of another format, a folder, or no file at all
        old = None if like is None else nib.load(like)
    if isinstance(old, nib.Nifti1Pair):
        to_units = np.diag([_PER_MM.get(old.header.get_xyzt_units()[0], 1)] * 3 + [1])
        image = nib.Nifti1Image(data, to_units @ affine)
        same_place = np.allclose(affine, np.linalg.inv(to_units) @ old.affine, atol=1e-3)
        _copy_place(image, old, same_grid=image.shape[:3] == old.shape[:3] and same_place)
        image = nib.Nifti1Image(data, None, image.header)  # without an affine, the header stays as it is
    # Without a time stamp or file name in it.
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def _copy_place(image: nib.Nifti1Image, old: Any, *, same_grid: bool) -> None:
    """Give a new image the codes of qform and sform, the units and the description of another one."""
    new, header, affine = image.header, old.header, image.affine
    new["xyzt_units"], new["descrip"] = header["xyzt_units"], header["descrip"]
    if same_grid:
        for name in _PLACE:
            new[name] = header[name]
        new["pixdim"][:4] = header["pixdim"][:4]
        return
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    if qform:  # where it differs from the sform, it moves with it
        image.set_qform(old.get_qform() @ np.linalg.inv(old.affine) @ affine, qform, update_affine=False)
        if not sform and not np.allclose(image.get_qform(), affine, atol=1e-3):
            image.set_qform(affine, 0, update_affine=False)  # a shear fits into an sform only
            return
    if qform or sform:  # without a code, a header can not say where another grid lies
        image.set_sform(affine, sform, update_affine=False)
