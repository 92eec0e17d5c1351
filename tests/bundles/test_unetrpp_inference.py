# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from monai_vafa.networks import UNETRPP

from .runs import BUNDLES, held_out_dsc, run, small_run_of_an_overlay, tiny_network, workflow

BUNDLE = "unetrpp_inference"
PUBLISHED = {"synapse": UNETRPP.synapse, "acdc": UNETRPP.acdc}
TINY = {**tiny_network("unetrpp"), "iterations_per_epoch": 2}
ROI_SIZE = {"synapse": [16, 32, 32], "acdc": [8, 32, 32]}


def test_inference_segments_held_out_subjects(bundle_run, cache, tmp_path):
    root = ("--bundle_root", str(BUNDLES / BUNDLE))
    bundle_run(f"{BUNDLE}/configs/inference.json", *root, "--output_dir", str(tmp_path / "pred"))
    scores = held_out_dsc(tmp_path / "pred", cache)
    assert len(scores) == 3
    assert np.mean(scores) >= 0.90
    metadata = json.loads((BUNDLES / BUNDLE / "configs" / "metadata.json").read_text())
    assert metadata["eval_metrics"]["mean_dice"] == pytest.approx(np.mean(scores), abs=0.002)


@pytest.mark.parametrize("dataset", list(PUBLISHED))
def test_overlays_train_evaluate_and_infer(dataset, made_up_data, tmp_path):
    tiny = {**TINY, "roi_size": ROI_SIZE[dataset]}
    small_run_of_an_overlay(BUNDLE, dataset, made_up_data, tmp_path, **tiny)


def test_resumed_training_goes_on_and_keeps_a_better_model(made_up_data, tmp_path):
    tiny = {**TINY, "roi_size": ROI_SIZE["acdc"]}
    shared = small_run_of_an_overlay(BUNDLE, "acdc", made_up_data, tmp_path, **tiny)
    best, last = tmp_path / "models" / "model.pt", tmp_path / "models" / "last.pt"
    state = torch.load(last, weights_only=True)
    state["record"]["best"]["score"] = 2.0
    torch.save(state, last)
    before = best.read_bytes()
    resumed = run(BUNDLE, "train.json", "acdc.json", **{**shared, "epochs": 2, "resume": True})
    assert resumed.parser.get_parsed_content("train#trainer").state.iteration == 4
    assert best.read_bytes() == before
    state = torch.load(last, weights_only=True)
    assert state["trainer"]["iteration"] == 4
    assert state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("dataset", list(PUBLISHED))
@pytest.mark.parametrize("file", ["train.json", "inference.json"])
def test_overlays_are_the_published_networks(file, dataset):
    with torch.device("meta"):
        network = workflow(BUNDLE, file, f"{dataset}.json", workflow_type="infer").parser.get_parsed_content(
            "network_def"
        )
        published = PUBLISHED[dataset]()
    assert [(k, v.shape) for k, v in network.state_dict().items()] == [
        (k, v.shape) for k, v in published.state_dict().items()
    ]
    rates = [[m.p for m in n.modules() if hasattr(m, "p")] for n in (network, published)]
    assert rates[0] == rates[1]


@pytest.mark.slow
@pytest.mark.parametrize("dataset", list(PUBLISHED))
def test_full_size_network_answers(dataset):
    made = workflow(BUNDLE, "inference.json", f"{dataset}.json", workflow_type="infer")
    network, roi_size, classes = (
        made.parser.get_parsed_content(name) for name in ("network_def", "roi_size", "num_classes")
    )
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 1, *roi_size)).shape == (1, classes, *roi_size)
