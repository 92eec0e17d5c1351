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
    made.merge()
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


def test_rows_of_several_processes_are_merged_once_in_order(tmp_path):
    """Each opens the folder by itself; what one has merged, another may merge again."""
    cases = {"cases": {"a": "/data/a.nii.gz", "b": "/data/b.nii.gz"}}
    row = {"attack": "pgd", "dsc": 0.5, "seconds": 1.0}
    for case in "ba":
        with folder(tmp_path, **cases).locked():
            folder(tmp_path, **cases).add({"case": case, **row}, [{"case": case, "class": "x", **row}])
    assert folder(tmp_path, **cases).finished("a") == {"pgd"}
    assert not (tmp_path / "cases.csv").exists()
    merged = []
    for _ in range(2):
        folder(tmp_path, **cases).merge("ab", ["pgd"])
        merged.append({path.name: path.read_text() for path in tmp_path.glob("*.*") if path.is_file()})
    assert merged[0] == merged[1]
    assert [row["case"] for row in folder(tmp_path, **cases).rows()[0]] == ["a", "b"]
    assert not (tmp_path / ".rows").exists()


def test_rows_of_other_parameters_are_not_merged(tmp_path):
    row = {"case": "a", "attack": "pgd", "dsc": 0.5}
    with folder(tmp_path, attacks={"pgd": {"eps": 8}}).locked():
        folder(tmp_path, attacks={"pgd": {"eps": 8}}).add(row, [])
    with pytest.raises(ValueError, match=r"\.rows' holds a row of other parameters or input files, a under pgd"):
        folder(tmp_path).merge()
    assert list((tmp_path / ".rows").iterdir())


def test_a_damaged_record_is_a_row_that_is_missing(tmp_path, caplog):
    made = folder(tmp_path)
    for attack in ("pgd", "clean"):
        made.add({"case": "a", "attack": attack, "dsc": 0.5}, [])
    path = next((tmp_path / ".rows").iterdir())
    path.write_text(path.read_text()[:40])
    assert len(folder(tmp_path).finished("a")) == 1
    assert "computed anew" in caplog.text


def test_adding_a_row_costs_the_same_however_many_there_are(tmp_path):
    """Files written, and not bytes of all rows again."""
    made, before = folder(tmp_path), None
    for number in range(300):
        made.add({"case": str(number), "attack": "pgd", "dsc": 0.5}, [])
        if number == 150:
            before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list((tmp_path / ".rows").iterdir())) == 300


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
