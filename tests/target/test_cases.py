# SPDX-License-Identifier: Apache-2.0
"""Which cases a target is attacked on."""

from __future__ import annotations

import json
import shutil

import pytest
from monai.utils import ensure_tuple

from monai_vafa.data import demo_cohort, folder_cases
from monai_vafa.target import open_target

from . import zoo


def test_labelled_images_of_a_known_layout_come_first(tiny_zoo):
    bundle = tiny_zoo["softmax"]
    target = open_target(bundle.folder)
    assert target.cases(bundle.data) == folder_cases(bundle.data)
    assert all("label" in case for case in target.cases(bundle.data))


@pytest.mark.parametrize("name", ["sigmoid", "own_scripts"])
def test_then_the_files_that_the_config_looks_for(name, tiny_zoo, monkeypatch):
    bundle = tiny_zoo[name]
    monkeypatch.chdir(bundle.data.parent)
    cases = open_target(bundle.folder).cases(bundle.data.name)
    assert cases == open_target(bundle.folder, overrides=bundle.overrides).cases()
    assert {len(ensure_tuple(case["image"])) for case in cases} == {4 if name == "sigmoid" else 2}


def test_then_images_without_labels(tiny_zoo, tmp_path):
    (tmp_path / "mine.nii.gz").touch()
    assert open_target(tiny_zoo["softmax"].folder).cases(tmp_path) == [{"image": str(tmp_path / "mine.nii.gz")}]


def test_cases_of_a_config_that_lie_elsewhere_are_not_those_of_the_folder(tmp_path):
    bundle = zoo.softmax(tmp_path)
    zoo.change(bundle.folder, "inference", images=[str(bundle.data / "imagesTr" / "case0.nii.gz")])
    (tmp_path / "empty").mkdir()
    target = open_target(bundle.folder)
    assert len(target.cases()) == 1
    with pytest.raises(ValueError, match=r"holds no cases.*Nor does the config of softmax find its cases there"):
        target.cases(tmp_path / "empty")


def test_keys_are_those_of_the_bundle(tmp_path):
    bundle = zoo.slices(tmp_path)
    config = bundle.folder / "configs" / "inference.json"
    config.write_text(config.read_text().replace('"keys": "image"', '"keys": "scan"'))
    zoo.change(bundle.folder, "inference", image_key="scan", label_key="truth")
    cases = open_target(bundle.folder).cases(bundle.data)
    assert all(case.keys() == {"scan", "truth"} for case in cases)


def test_without_a_folder_they_are_the_configs_own_with_labels_of_its_folder(tiny_zoo, tmp_path):
    bundle = tiny_zoo["softmax"]
    cases = open_target(bundle.folder, overrides=bundle.overrides).cases()
    assert cases == folder_cases(bundle.data)
    shutil.copytree(bundle.data / "imagesTr", tmp_path / "imagesTr")
    cases = open_target(bundle.folder, overrides={"dataset_dir": str(tmp_path)}).cases()
    assert [case.keys() for case in cases] == [{"image"}] * 4


def test_a_section_is_one_of_the_configs_own_folder(tiny_zoo, tmp_path):
    bundle = tiny_zoo["softmax"]
    data = shutil.copytree(bundle.data, tmp_path / "data")
    case = {"image": "./imagesTr/case1.nii.gz", "label": "./labelsTr/case1.nii.gz"}
    (data / "dataset.json").write_text(json.dumps({"labels": {}, "validation": [], "test": [case]}))
    [case] = open_target(bundle.folder, overrides={"dataset_dir": str(data)}).cases(section="test")
    assert case["label"] == str(data / "labelsTr" / "case1.nii.gz")
    zoo.change(shutil.copytree(bundle.folder, tmp_path / "other"), "inference", dataset_dir=None, images=[])
    with pytest.raises(ValueError, match="section='test' is a section of a dataset"):
        open_target(tmp_path / "other").cases(section="test")


def test_the_demo_has_its_validation_cases():
    cases = open_target().cases()
    assert cases == folder_cases(demo_cohort(), section="validation")
    assert len(cases) == 3


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_those_of_somebody_elses_machine_are_refused(name, tiny_zoo):
    with pytest.raises(ValueError, match=rf"bundle {name}: its config names .*Give dataset_dir"):
        open_target(tiny_zoo[name].folder).cases()


def test_a_folder_that_is_not_there_is_refused(tiny_zoo, tmp_path):
    with pytest.raises(FileNotFoundError, match="nosuch' does not exist"):
        open_target(tiny_zoo["softmax"].folder).cases(tmp_path / "nosuch")


def test_a_labelled_folder_of_several_channels(tiny_zoo, tmp_path):
    """As nnU-Net names them, for a bundle that lists its own files in another way."""
    data = tiny_zoo["sigmoid"].data
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for channel in range(4):
        shutil.copy(data / "imagesTr" / f"case0_{channel}.nii.gz", tmp_path / "images" / f"a_000{channel}.nii.gz")
    shutil.copy(data / "labelsTr" / "case0.nii.gz", tmp_path / "labels" / "a.nii.gz")
    target = open_target(tiny_zoo["sigmoid"].folder)
    [case] = target.cases(tmp_path)
    made = target.preprocessing(case)
    assert made["image"].shape[0] == 4
    assert made["label"].shape[0] == 3
    # Without a label the inference's preprocessing is enough; the training's would miss it.
    assert target.preprocessing({"image": case["image"]})["image"].shape == made["image"].shape
