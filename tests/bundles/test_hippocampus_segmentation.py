# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_vafa.data import hippocampus_datalist
from monai_vafa.target import open_target

from .runs import run

NAME = "hippocampus_segmentation"
NETWORKS = ("dynunet", "segresnet", "unetr", "unetrpp", "swinunetr")
DATA = os.environ.get("MONAI_VAFA_HIPPOCAMPUS")
FIRST_OF_TEST = "$@datalist['test'][:5]"
real_patients = pytest.mark.skipif(DATA is None, reason="MONAI_VAFA_HIPPOCAMPUS names no folder of Task04_Hippocampus")


@pytest.fixture(params=[pytest.param(each, marks=[pytest.mark.slow] * (each != "dynunet")) for each in NETWORKS])
def overlay(request):
    """Config files to lay over those of the default network, for each network."""
    return [] if request.param == "dynunet" else [f"{request.param}.json"]


def test_trains_evaluates_infers_attacks_and_hardens(overlay, hippocampi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"dataset_dir": str(hippocampi)}
    folders = {"ckpt_dir": str(tmp_path / "models"), "output_dir": str(tmp_path / "eval"), **data}
    short = {
        "training_data": "$@datalist['training'][:2]",
        "validation_data": "$@datalist['validation'][:1]",
        "test_data": "$@datalist['test'][:1]",
        "tensorboard": False,
    }
    run(NAME, "train.json", *overlay, epochs=1, val_interval=1, **short, **folders)
    weights = str(tmp_path / "models" / "model.pt")
    run(NAME, "train.json", *overlay, "evaluate.json", **short, **folders)
    with open(tmp_path / "eval" / "val_dsc_raw.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
    inference = run(NAME, "inference.json", *overlay, workflow_type="infer", **short, **folders)
    image = inference.parser.get_parsed_content("images")[0]
    assert nib.load(next((tmp_path / "eval").glob("*_pred.nii.gz"))).shape == nib.load(image).shape
    (tmp_path / "short.json").write_text(json.dumps(short))
    bundle = {"bundle": NAME, "checkpoint": weights, **data}
    run(
        "vafa_attack",
        "attack.json",
        workflow_type="infer",
        **bundle,
        configs=["inference.json", *overlay],
        cases="$@target.cases(@dataset_dir, section='validation')[:1]",
        attacks={"pgd": {"steps": 1}, "vafa": {"steps": 1}},
        visibility_metrics={},
        output_dir=str(tmp_path / "attack"),
    )
    with open(tmp_path / "attack" / "cases.csv", newline="") as file:
        assert [row["attack"] for row in csv.DictReader(file)] == ["clean", "pgd", "vafa"]
    run(
        "vaft_training",
        "train.json",
        **bundle,
        configs=["train.json", *overlay, str(tmp_path / "short.json")],
        attack_parameters={"steps": 1},
        validation_parameters={"steps": 1},
        epochs=1,
        val_interval=1,
        tensorboard=False,
        ckpt_dir=str(tmp_path / "hardened"),
    )
    assert (tmp_path / "hardened" / "model.pt").is_file()


def test_a_data_set_folder_is_enough(hippocampi):
    """The 50 are taken, whatever a dataset.json lists."""
    target = open_target(NAME)
    listed = hippocampus_datalist(hippocampi)
    assert target.cases(hippocampi) == listed["test"]
    assert target.cases(hippocampi.parent / hippocampi.name, section="training") == listed["training"]
    with pytest.raises(ValueError, match=r"section='all' is none of those of .*: training, validation, test"):
        target.cases(hippocampi, section="all")


def test_an_overlay_starts_from_its_own_weights():
    target = open_target(NAME, config_file=["train.json", "segresnet.json"])
    assert Path(target.checkpoint).parent.name == "segresnet"
    assert Path(open_target(NAME, config_file="train.json").checkpoint).parent.name == "models"


def test_a_missing_file_is_named_with_the_way_to_get_it(hippocampi, tmp_path):
    for kind in ("imagesTr", "labelsTr"):
        (tmp_path / kind).mkdir()
        for path in (hippocampi / kind).iterdir():
            (tmp_path / kind / path.name).symlink_to(path)
    (tmp_path / "labelsTr" / "hippocampus_019.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"labelsTr/hippocampus_019\.nii\.gz\. .*50 for test, from monai\.apps\.Deca"):
        open_target(NAME).cases(tmp_path)


def test_other_data_are_listed_as_ever(hippocampi, tmp_path, caplog):
    for kind in ("imagesTr", "labelsTr"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "mine.nii.gz").symlink_to(hippocampi / f"{kind}.nii.gz")
    cases = open_target(NAME).cases(tmp_path)
    assert [Path(case["image"]).name for case in cases] == ["mine.nii.gz"]
    assert "not the data of hippocampus_segmentation" in caplog.text


@real_patients
def test_shipped_weights_segment_real_patients(tmp_path):
    run(NAME, "train.json", "evaluate.json", dataset_dir=DATA, output_dir=str(tmp_path), test_data=FIRST_OF_TEST)
    with open(tmp_path / "val_dsc_raw.csv", newline="") as file:
        scores = [float(row["mean"]) for row in csv.DictReader(file)]
    assert len(scores) == 5
    assert np.mean(scores) >= 0.85
