# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.nets import UNETR

from .runs import BUNDLES, held_out_dsc, small_run_of_an_overlay, tiny_network, workflow

INFERENCE = "unetr_inference/configs/inference.json"
ROOT = ("--bundle_root", str(BUNDLES / "unetr_inference"))
TINY = tiny_network("unetr")


def test_inference_segments_held_out_subjects(bundle_run, cache, tmp_path):
    bundle_run(INFERENCE, *ROOT, "--output_dir", str(tmp_path / "pred"))
    scores = held_out_dsc(tmp_path / "pred", cache)
    assert len(scores) == 3
    assert np.mean(scores) >= 0.90


def test_missing_checkpoint_is_named(bundle_run):
    done = bundle_run(INFERENCE, *ROOT, "--checkpoint", "no_such.pt", check=False)
    assert done.returncode != 0
    assert "checkpoint 'no_such.pt' does not exist" in done.stderr


@pytest.mark.parametrize(("dataset", "roi_size"), [("synapse", (32, 32, 16)), ("acdc", (32, 32, 16))])
def test_overlays_train_evaluate_and_infer(dataset, roi_size, made_up_data, tmp_path):
    small_run_of_an_overlay("unetr_inference", dataset, made_up_data, tmp_path, roi_size=list(roi_size), **TINY)


@pytest.mark.parametrize("file", ["train.json", "inference.json"])
def test_synapse_overlay_is_the_published_network(file):
    with torch.device("meta"):
        made = workflow("unetr_inference", file, "synapse.json", workflow_type="infer")
        network = made.parser.get_parsed_content("network_def")
        published = UNETR(in_channels=1, out_channels=14, img_size=96, feature_size=16, proj_type="perceptron")
    assert [(k, v.shape) for k, v in network.state_dict().items()] == [
        (k, v.shape) for k, v in published.state_dict().items()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["synapse", "acdc"])
def test_full_size_network_answers(dataset):
    made = workflow("unetr_inference", "inference.json", f"{dataset}.json", workflow_type="infer")
    network, roi_size, classes = (
        made.parser.get_parsed_content(name) for name in ("network_def", "roi_size", "num_classes")
    )
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 1, *roi_size)).shape == (1, classes, *roi_size)


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["unetr_inference", "unetrpp_inference"])
def test_training_saves_the_best_and_the_last_and_resumes(bundle, bundle_run, tmp_path):
    two = "$monai.data.load_decathlon_datalist(@datalist_file, True, '{}')[:{}]"
    models = tmp_path / "models"
    arguments = [
        *("--bundle_root", str(BUNDLES / bundle)),
        *("--ckpt_dir", str(models), "--output_dir", str(tmp_path / "eval"), "--val_interval", "1"),
        *("--training_data", two.format("training", 2), "--validation_data", two.format("validation", 1)),
    ]
    train = f"{bundle}/configs/train.json"
    bundle_run(train, *arguments, "--epochs", "1")
    state = torch.load(models / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state.values())
    assert torch.load(models / "last.pt", weights_only=True)["trainer"]["iteration"] == 2
    assert list((tmp_path / "eval").glob("events.out.tfevents*"))
    bundle_run(train, *arguments, "--epochs", "2", "--resume", "True")
    assert torch.load(models / "last.pt", weights_only=True)["trainer"]["iteration"] == 4
