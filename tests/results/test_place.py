# SPDX-License-Identifier: Apache-2.0
"""Saved volumes lie where the input file lies, for every program that reads them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_vafa.results.folder import ResultFolder

SHAPE = (6, 5, 4)
TURN = np.array([[0, -1.5, 0, 7], [1.25, 0, 0, -3], [0, 0, 2, 11], [0, 0, 0, 1.0]])
SHEAR = TURN @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
MOVED = np.array([[1, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
MM = np.diag([1e-3, 1e-3, 1e-3, 1])
PLACE = ("qform_code", "sform_code", "xyzt_units", "descrip")


def write_input(path, qform, sform, kind=nib.Nifti1Image):
    """An input file, from (affine, code) of both transforms."""
    image = kind(np.zeros(SHAPE, np.float32), None)
    image.header.set_zooms((1.25, 1.5, 2))
    image.header.set_xyzt_units("micron", "msec")
    image.header["descrip"] = b"scanner 7"
    image.set_qform(*qform)
    image.set_sform(*sform)
    nib.save(image, path)
    return nib.load(path)


def write_saved(tmp_path, affine, path, shape=SHAPE):
    """A volume as an evaluation writes it, by its affine in mm."""
    made = ResultFolder(tmp_path / "out", {"attacks": {}, "cases": {}})
    made.write_volume("adversarial", "a", "x", np.ones((1, *shape), np.float32), affine, path)
    return nib.load(made.volume("adversarial", "a", "x"))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("qform", "sform"),
    [
        ((None, 0), (None, 0)),
        ((TURN, 1), (None, 0)),
        ((TURN, 1), (SHEAR, 2)),
        ((MOVED, 1), (TURN, 4)),
        ((None, 0), (SHEAR, 3)),
    ],
)
def test_the_same_grid_keeps_the_whole_place(tmp_path, qform, sform, kind):
    given = write_input(tmp_path / "in.nii.gz", qform, sform, kind)
    saved = write_saved(tmp_path, MM @ given.affine, tmp_path / "in.nii.gz")
    assert [saved.header[name] for name in PLACE] == [given.header[name] for name in PLACE]
    for form in ("get_qform", "get_sform", "get_best_affine"):
        assert np.allclose(getattr(saved.header, form)(), getattr(given.header, form)(), atol=1e-6), form
    assert np.allclose(saved.header["pixdim"][:4], given.header["pixdim"][:4])
    assert (saved.get_fdata() == 1).all()


@pytest.mark.parametrize(
    ("qform", "sform", "codes"),
    [((TURN, 1), (None, 0), (1, 0)), ((TURN, 1), (SHEAR, 2), (1, 2)), ((None, 0), (SHEAR, 3), (0, 3))],
)
def test_another_grid_keeps_the_codes(tmp_path, qform, sform, codes):
    given = write_input(tmp_path / "in.nii.gz", qform, sform)
    grid = given.affine @ np.diag([2, 1, 2, 1]) @ MOVED
    saved = write_saved(tmp_path, MM @ grid, tmp_path / "in.nii.gz", (3, 5, 2))
    assert (int(saved.header["qform_code"]), int(saved.header["sform_code"])) == codes
    assert np.allclose(saved.affine, grid, atol=1e-4)
    assert saved.header.get_xyzt_units() == ("micron", "msec")


@pytest.mark.parametrize("forms", [((None, 0), (None, 0)), ((TURN, 1), (None, 0))])
def test_a_grid_that_the_codes_can_not_hold_is_placed_by_its_sform(tmp_path, forms):
    write_input(tmp_path / "in.nii.gz", *forms)
    saved = write_saved(tmp_path, MM @ SHEAR, tmp_path / "in.nii.gz", (3, 5, 2))
    assert np.allclose(saved.header.get_sform(), SHEAR) and np.allclose(saved.affine, SHEAR)


def test_inputs_in_other_formats_change_nothing(tmp_path):
    (tmp_path / "in.png").write_bytes(b"no NIfTI")
    assert np.allclose(write_saved(tmp_path, TURN, tmp_path / "in.png").affine, TURN)
