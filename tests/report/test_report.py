# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
import sys

import nibabel as nib
import numpy as np
import pytest

from monai_vafa.report import format_tables, write_report


@pytest.fixture
def summary():
    scores = {"dsc": 0.9, "hd95": 2.0, "lpips": None, "ssim": 0.97, "linf": 12.3, "changed_voxel_rate": 0.015}
    classes = {"background": {"dsc": 0.99, "hd95": 1.0}, "tumour": {"dsc": 0.812, "hd95": None}}
    return {
        "means": {"clean": {**scores, "classes": classes}, "vafa": {**scores, "dsc": 0.4, "classes": classes}},
        "cases": {"c1": "/data/c1.nii.gz", "c2": "/data/c2.nii.gz"},
        "failed": {"c2": "ValueError: why"},
        "class_names": ["background", "tumour"],
        "description": "made up",
        "unmeasured": ["lpips"],
    }


@pytest.fixture
def folder(summary, tmp_path):
    rng = np.random.default_rng(0)
    for kind, names in (("adversarial", ("clean", "vafa")), ("predictions", ("clean", "vafa", "label"))):
        (tmp_path / kind).mkdir()
        for name in names:
            volume = rng.random((12, 14, 6)) if kind == "adversarial" else rng.integers(0, 2, (12, 14, 6))
            nib.save(nib.Nifti1Image(volume.astype(np.float32), np.eye(4)), tmp_path / kind / f"c1_{name}.nii.gz")
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_table_shows_damage_beside_visibility_and_each_class(summary):
    lines = format_tables(summary).splitlines()
    assert lines[0].split() == ["DSC", "HD95", "100(1-LPIPS)", "SSIM", "L-inf", "changed"]
    assert lines[3].split() == ["vafa", "40.00", "2.00", "-", "0.9700", "12.3", "1.5", "%"]
    per_class = next(line for line in lines if line.startswith("tumour"))
    assert per_class.split() == ["tumour", *["81.20", "/", "-"] * 2]


def test_table_says_what_is_missing_and_what_failed(summary):
    text = format_tables(summary)
    assert "Mean over 1 of 2 cases. made up" in text
    assert "Not measured here, see the warning above: lpips" in text
    assert "FAILED c2: ValueError: why" in text


def test_report_draws_a_figure_per_finished_case(folder, caplog):
    caplog.set_level(logging.INFO)
    write_report(folder)
    assert [p.name for p in (folder / "figures").iterdir()] == ["c1.png"]
    assert (folder / "figures" / "c1.png").read_bytes().startswith(b"\x89PNG")
    assert "40.00" in caplog.text


def test_without_matplotlib_the_tables_still_come(folder, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_report(folder)
    assert "pip install matplotlib" in caplog.text
    assert "40.00" in caplog.text
