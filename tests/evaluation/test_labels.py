# SPDX-License-Identifier: Apache-2.0
"""Labels are checked, then scored, then saved."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pytest


def rewrite(path, change, affine=None):
    image = nib.load(path)
    voxels = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(change(voxels), image.affine if affine is None else affine), path)


def run(evaluator, **changes):
    made = evaluator(**changes)
    made.run()
    return made


@pytest.mark.parametrize("off", [-2e-6, 9e-4, -9e-4])
def test_labels_next_to_a_class_are_that_class(evaluator, datalist, tmp_path, off):
    exact = run(evaluator, output_dir=tmp_path / "exact", cases=datalist[:1])
    whole = np.asarray(nib.load(datalist[0]["label"]).dataobj)
    rewrite(datalist[0]["label"], lambda v: v.astype(np.float32) + np.float32(off) * (v > 0))
    near = run(evaluator, cases=datalist[:1])
    near.raise_if_failed()
    assert near.state.metrics["clean_dsc"] == exact.state.metrics["clean_dsc"]
    saved = np.asarray(nib.load(tmp_path / "out" / "predictions" / "case0_label.nii.gz").dataobj)
    assert np.array_equal(saved, whole)


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [(0.988, np.float32, "0.988"), (np.nan, np.float32, "nan"), (-1, np.int16, "-1 to"), (256, np.int16, "to 256")],
)
def test_other_labels_are_refused_before_anything_is_written(evaluator, datalist, tmp_path, value, dtype, said):
    rewrite(datalist[0]["label"], lambda v: np.where(v == 1, dtype(value), v.astype(dtype)))
    failed = run(evaluator, cases=datalist[:1])
    assert said in failed.failed["case0"] and datalist[0]["label"] in failed.failed["case0"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cases.csv", "metrics.csv", "summary.json"]
    assert (tmp_path / "out" / "cases.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("affine", [np.diag([1.5, 1.5, 2.1, 1]), np.diag([1.5, -1.5, 2, 1]), [3, 0, 0]])
def test_labels_on_another_grid_are_refused_with_both_affines(evaluator, datalist, affine):
    if isinstance(affine, list):
        moved = nib.load(datalist[0]["image"]).affine.copy()
        moved[:3, 3] += affine
        affine = moved
    rewrite(datalist[0]["label"], lambda v: v, affine)
    message = run(evaluator, cases=datalist[:1]).failed["case0"]
    assert "another grid" in message and len(re.findall(r"\[\[.*?\]\]", message)) == 2


def test_rounding_of_an_affine_is_no_other_grid(evaluator, datalist):
    rewrite(datalist[0]["label"], lambda v: v, nib.load(datalist[0]["image"]).affine + 1e-4)
    run(evaluator, cases=datalist[:1]).raise_if_failed()
