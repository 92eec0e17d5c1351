# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from monai_vafa.data import folder_cases


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_decathlon_list_with_its_sections(tmp_path):
    case = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    content = {"labels": {}, "training": [case], "validation": [], "test": ["./imagesTs/b.nii.gz"]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    [found] = folder_cases(tmp_path)
    assert found["label"].endswith("labelsTr/a.nii.gz")
    [found] = folder_cases(tmp_path, section="test")
    assert "label" not in found
    with pytest.raises(ValueError, match="no cases in validation; it has"):
        folder_cases(tmp_path, section="validation")


@pytest.mark.parametrize("section", ["validation", "test"])
def test_a_case_that_is_in_the_training_too_is_refused(section, tmp_path):
    cases = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in "abc"]
    also = cases[1:2] if section == "validation" else ["./imagesTr/b.nii.gz"]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": cases, section: also}))
    with pytest.raises(ValueError, match=rf"has './imagesTr/b\.nii\.gz' in training and in {section}: remove one"):
        folder_cases(tmp_path, section=section)
    assert len(folder_cases(tmp_path, section="training")) == 3


@pytest.mark.parametrize(("images", "labels"), [("imagesTr", "labelsTr"), ("images", "labels")])
def test_images_and_labels_of_the_same_name(images, labels, tmp_path):
    fill(tmp_path, f"{images}/b.nii", f"{images}/a.nii.gz", f"{labels}/a.nii.gz", f"{labels}/b.nii.gz")
    assert folder_cases(tmp_path) == [
        {"image": str(tmp_path / images / "a.nii.gz"), "label": str(tmp_path / labels / "a.nii.gz")},
        {"image": str(tmp_path / images / "b.nii"), "label": str(tmp_path / labels / "b.nii.gz")},
    ]


def test_channels_of_one_image_are_one_case(tmp_path):
    fill(tmp_path, "images/a_0001.nii.gz", "images/a_0000.nii.gz", "labels/a.nii.gz")
    [case] = folder_cases(tmp_path)
    assert case["image"] == [str(tmp_path / "images" / f"a_000{i}.nii.gz") for i in (0, 1)]


def test_pictures_are_one_case_each_and_their_labels_may_end_otherwise(tmp_path):
    fill(tmp_path, "images/a_0000.jpg", "images/a_0001.JPG", "labels/a_0000.png", "labels/a_0001.png")
    assert folder_cases(tmp_path) == [
        {"image": str(tmp_path / f"images/a_{end}"), "label": str(tmp_path / f"labels/a_{end[:4]}.png")}
        for end in ("0000.jpg", "0001.JPG")
    ]


def test_images_alone_have_no_labels(tmp_path):
    fill(tmp_path, "a.nii.gz", "notes.txt")
    assert folder_cases(tmp_path) == [{"image": str(tmp_path / "a.nii.gz")}]


def test_what_does_not_fit_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such' does not exist"):
        folder_cases(tmp_path / "no_such")
    fill(tmp_path, "scan.dcm")
    with pytest.raises(ValueError, match=r"holds no cases.*it has scan\.dcm"):
        folder_cases(tmp_path)
    with pytest.raises(ValueError, match="section='test'"):
        folder_cases(tmp_path, section="test")
    fill(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz")
    with pytest.raises(ValueError, match=r"1 of 2 images have no label.*'b'"):
        folder_cases(tmp_path)
