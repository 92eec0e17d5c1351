# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_vafa.data import ACDC_CLASSES, SYNAPSE_CLASSES, acdc_datalist, synapse_datalist


@pytest.fixture
def synapse(tmp_path):
    for n in [*range(1, 11), *range(21, 41)]:
        for folder, name in (("imagesTr", f"img{n:04d}"), ("labelsTr", f"label{n:04d}")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.nii.gz").touch()
    return tmp_path


@pytest.fixture
def acdc(tmp_path):
    for n in range(1, 101):
        folder = tmp_path / "training" / f"patient{n:03d}"
        folder.mkdir(parents=True)
        # patient 90's first labelled frame is the fourth
        for frame in ("04" if n == 90 else "01", "12"):
            for name in (f"patient{n:03d}_frame{frame}", f"patient{n:03d}_frame{frame}_gt", f"patient{n:03d}_4d"):
                (folder / f"{name}.nii.gz").touch()
    return tmp_path


def test_synapse_has_the_published_split(synapse):
    datalist = synapse_datalist(synapse)
    assert {section: len(cases) for section, cases in datalist.items()} == {"training": 18, "validation": 12}
    assert datalist["validation"][0]["image"].endswith("img0001.nii.gz")
    assert datalist["validation"][0]["label"].endswith("label0001.nii.gz")
    files = {case["image"] for cases in datalist.values() for case in cases}
    assert len(files) == 30
    assert len(SYNAPSE_CLASSES) == 14


def test_acdc_has_the_published_split(acdc):
    datalist = acdc_datalist(acdc)
    assert {section: len(cases) for section, cases in datalist.items()} == {
        "training": 140,
        "validation": 20,
        "test": 40,
    }
    assert datalist["test"][0]["image"].endswith("patient002_frame01.nii.gz")
    assert datalist["test"][0]["label"].endswith("patient002_frame01_gt.nii.gz")
    assert any("patient090_frame04" in case["image"] for case in datalist["validation"])
    assert len(ACDC_CLASSES) == 4


def test_missing_files_are_named(synapse):
    (synapse / "labelsTr" / "label0004.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 60 files: label0004\.nii\.gz\. .*12 for validation"):
        synapse_datalist(synapse)


def test_missing_patients_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"patient001_frame01\.nii\.gz.*, \.\.\."):
        acdc_datalist(tmp_path)
