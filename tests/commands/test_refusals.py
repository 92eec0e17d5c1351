# SPDX-License-Identifier: Apache-2.0
"""What ``python -m monai_vafa`` says when something can not be."""

from __future__ import annotations

import json
import os
import re
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.target import zoo

from .runs import HARDEN, QUICK, rows, shell

SLICES = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2}


def refusal(run, *words):
    with pytest.raises(SystemExit) as refused:
        run(*words)
    message = refused.value.code
    assert message.startswith("Error: ")
    assert "\n" not in message
    return message


def test_errors_are_one_line_without_a_traceback(tmp_path):
    code, out, err = shell(sys.executable, "-m", "monai_vafa", "attack", tmp_path / "nosuch")
    assert code == 1
    assert "Traceback" not in out + err
    assert re.search(r"^Error: bundle '.*nosuch' is not a folder", err, flags=re.MULTILINE)


def test_debug_shows_where_an_error_comes_from(run, tmp_path):
    with pytest.raises(RuntimeError) as raised:
        run("attack", tmp_path / "nosuch", "--debug")
    assert isinstance(raised.value.__cause__, FileNotFoundError)


def test_ids_that_no_config_has_are_refused(run, tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    assert "no id 'epoch'; did you mean 'epochs'?" in refusal(run, "harden", bundle.folder, "--epoch", 3)
    assert "no id 'nonsense': it has" in refusal(run, "attack", bundle.folder, "--nonsense", 3)


def test_no_network(run, tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    config = json.loads((bundle.folder / "configs" / "inference.json").read_text())
    zoo.change(bundle.folder, "inference", network_def=None, network=None, mine=config["network_def"])
    message = refusal(run, "attack", bundle.folder, bundle.data, *QUICK)
    assert "bundle softmax has no network: its config has none of the ids network_def" in message
    assert "ids={'network': '...'}" in message
    run("attack", bundle.folder, bundle.data, *QUICK, "--ids", "{'network': 'mine'}", "--workflow", "inference")


def test_no_weights_or_those_of_another_network(run, tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    weights = bundle.folder / "models" / "model.pt"
    other = weights.rename(tmp_path / "other.pt")
    assert "has no weights: " in refusal(run, "attack", bundle.folder, bundle.data)
    assert "has no weights: " in refusal(run, "harden", bundle.folder, bundle.data)
    torch.save({"conv.weight": torch.zeros(1)}, other)
    message = refusal(run, "attack", bundle.folder, bundle.data, "--checkpoint", other)
    assert "other.pt' does not fit UNet: " in message
    message = refusal(run, "harden", bundle.folder, bundle.data, "--checkpoint", other)
    assert "other.pt' does not fit UNet: " in message
    run("harden", bundle.folder, bundle.data, *HARDEN, "--checkpoint", "False")


@pytest.mark.parametrize("command", ["attack", "benchmark", "harden"])
def test_what_is_no_segmentation(command, run, tmp_path):
    classification = zoo.softmax(tmp_path / "one").folder
    zoo.change_output(classification, type="probabilities", format="classes", spatial_shape=[1, 4])
    assert "can't be attacked as a segmentation" in refusal(run, command, classification)
    detection = zoo.softmax(tmp_path / "other").folder
    path = detection / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["network_data_format"]["outputs"] = {"boxes": {"type": "object"}}
    path.write_text(json.dumps(metadata))
    assert "describes no output 'pred', but boxes" in refusal(run, command, detection)


def test_data_that_match_nothing(run, tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    assert "config names no cases here. Give dataset_dir" in refusal(run, "attack", bundle.folder)
    (tmp_path / "empty").mkdir()
    message = refusal(run, "attack", bundle.folder, tmp_path / "empty")
    assert "empty' holds no cases" in message
    assert "Nor does the config of softmax find its cases there" in message
    assert "'nosuch' does not exist" in refusal(run, "attack", bundle.folder, "nosuch").replace(os.getcwd() + "/", "")


def test_labels_of_other_classes_name_the_case(run, tmp_path, caplog):
    bundle = zoo.softmax(tmp_path / "zoo")
    path = bundle.data / "labelsTr" / "case1.nii.gz"
    label = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj) * 3, label.affine), path)
    message = refusal(run, "attack", bundle.folder, bundle.data, *QUICK)
    assert "1 of 4 cases failed: case1: ValueError: label holds class" in message
    assert "Traceback" not in caplog.text
    assert len(rows("output/softmax/cases.csv")) >= 3 * 4


def test_bundles_that_can_not_be_hardened(run, tmp_path):
    slices = zoo.slices(tmp_path / "slices")
    message = refusal(run, "harden", slices.folder, slices.data)
    assert "bundle slices has no train config; it has inference.json" in message
    bundle = zoo.softmax(tmp_path / "zoo")
    message = refusal(run, "harden", bundle.folder, bundle.data, "--ckpt_dir", bundle.folder / "models")
    assert "is in the folder of the bundle: choose another folder" in message
    config = json.loads((bundle.folder / "configs" / "train.json").read_text())
    zoo.change(bundle.folder, "train", validate=None)
    assert "has no evaluator with the id validate#evaluator" in refusal(run, "harden", bundle.folder)
    zoo.change(bundle.folder, "train", validate={**config["validate"], "inferer": SLICES})
    assert "slice by slice" in refusal(run, "harden", bundle.folder, bundle.data)
