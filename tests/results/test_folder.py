# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_vafa.evaluation.scoring import mean_rows
from monai_vafa.results.folder import ResultFolder, differences, join_parameters
from monai_vafa.results.schema import COLUMNS, volume_name

PARAMETERS = {"attacks": {"pgd": {"eps": 4}}, "cases": {"a": "/data/a.nii.gz"}, "target": {"roi_size": [8, 8, 8]}}


def folder(path, **changes):
    return ResultFolder(path, {**PARAMETERS, **changes})


def finish(made, case):
    made.add({"case": case, "attack": "pgd", "dsc": 0.5}, [{"case": case, "attack": "pgd", "class": "x", "dsc": 0.5}])
    made.write_summary({"parameters": made.parameters})


def test_attacks_and_cases_may_come_and_go_but_not_change(tmp_path):
    finish(folder(tmp_path), "a")
    more = folder(tmp_path, attacks={"fgsm": {"eps": 8}}, cases={"b": "/data/b.nii.gz"})
    assert list(more.parameters["attacks"]) == ["fgsm", "pgd"]
    finish(more, "b")
    assert more.finished("a") == more.finished("b") == {"pgd"}
    for changes, message in (
        ({"attacks": {"pgd": {"eps": 2}}}, r"attacks\.pgd\.eps: 4, now 2"),
        ({"cases": {"a": "/else/a.nii.gz"}}, r"cases\.a: /data/a\.nii\.gz, now /else"),
        ({"target": {"roi_size": [8, 8, 16]}}, r"target\.roi_size\[2\]: 8, now 16.* Choose another output_dir"),
    ):
        with pytest.raises(ValueError, match=message):
            folder(tmp_path, **changes)


def test_a_row_without_its_case_row_is_not_finished(tmp_path):
    made = folder(tmp_path)
    finish(made, "a")
    (tmp_path / "cases.csv").write_text("case,attack,dsc\n")
    assert folder(tmp_path).rows() == ([], [])


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    voxels, affine = np.arange(48.0, dtype=np.float32).reshape(2, 2, 3, 4), np.diag([1.0, 2, 3, 1])
    made = folder(tmp_path)
    paths = [made.volume("predictions", "a", name) for name in "xy"]
    for name in "xy":
        made.write_volume("predictions", "a", name, voxels, affine)
    assert paths[0] == tmp_path / volume_name("predictions", "a", "x")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    stored = nib.load(paths[0])
    assert stored.shape == (2, 3, 4, 2)
    assert np.array_equal(np.moveaxis(stored.get_fdata(), -1, 0), voxels)
    assert np.array_equal(stored.affine, affine)


def test_means_leave_out_what_is_empty():
    cases = [{"case": c, "attack": "pgd", "dsc": v, "lpips": ""} for c, v in (("a", "0.5"), ("b", ""), ("c", "0"))]
    metrics = [{"case": "a", "attack": "pgd", "class": "x", "dsc": "0.25"}]
    assert mean_rows(cases, metrics, ["clean", "pgd"]) == {
        "pgd": {"dsc": 0.25, "lpips": None, "undefined": {"dsc": 1}, "classes": {"x": {"dsc": 0.25}}}
    }


def test_differences_name_the_place():
    assert differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}], "c": None}) == ["a[1].b: 2, now 3"]
    assert differences({"a": [1]}, {"a": [1, 2]}) == ["a: [1], now [1, 2]"]
    assert join_parameters(None, PARAMETERS, place="", way_out="") == PARAMETERS


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("dsc", 0.92666, "92.67"),
        ("lpips", 0.0021, "99.79"),
        ("ssim", 1.0, "1.0000"),
        ("changed_voxel_rate", 0.0123, "1.2 %"),
        ("rmse", 3.145, "3.15"),
    ],
)
def test_columns_are_shown_as_people_read_them(column, value, text):
    assert COLUMNS[column].format(value) == text
