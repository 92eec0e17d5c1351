# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.networks.nets import UNETR

from .conftest import BUNDLES

TRAIN, INFERENCE = "unetr_inference/configs/train.json", "unetr_inference/configs/inference.json"
TINY = {
    "network_def#feature_size": 4,
    "network_def#hidden_size": 16,
    "network_def#mlp_dim": 16,
    "network_def#num_heads": 2,
}


def dsc(prediction, label, classes):
    both = [(prediction == c, label == c) for c in classes]
    return np.mean([2 * (p & y).sum() / (p.sum() + y.sum()) for p, y in both])


def held_out_dsc(predictions, cache):
    """DSC without background of each saved prediction of a held-out demo subject."""
    scores = []
    for path in sorted(predictions.glob("*.nii.gz")):
        prediction = nib.load(path)
        label = nib.load(cache / "demo_cohort_v1" / "labelsTr" / path.name.replace("_pred", ""))
        assert np.allclose(prediction.affine, label.affine)
        scores.append(dsc(np.asarray(prediction.dataobj), np.asarray(label.dataobj), (1, 2, 3)))
    return scores


def workflow(bundle, *files, workflow_type, **overrides):
    """A bundle's config with overlays, in this process."""
    configs = [str(BUNDLES / bundle / "configs" / file) for file in files]
    return ConfigWorkflow(configs, workflow_type=workflow_type, logging_file=False, **overrides)


def run(bundle, *files, workflow_type="train", **overrides):
    made = workflow(bundle, *files, workflow_type=workflow_type, **overrides)
    made.initialize()
    made.run()
    made.finalize()
    return made


@pytest.fixture(scope="session")
def made_up_data(tmp_path_factory):
    """Noise with two blocks in it, under the file names of Synapse and of ACDC."""
    folder = tmp_path_factory.mktemp("made_up")
    rng = np.random.default_rng(0)
    label = np.zeros((40, 36, 8), np.uint8)
    label[8:20, 8:20, 1:7], label[20:34, 16:32, 2:6] = 1, 3
    image = (rng.normal(0, 30, label.shape) + 60.0 * label - 20).astype(np.float32)
    names = {
        "synapse": [(f"img{n:04d}", f"label{n:04d}") for n in [*range(1, 11), *range(21, 41)]],
        "acdc": [
            (f"patient{n:03d}_frame{frame}", f"patient{n:03d}_frame{frame}_gt")
            for n in range(1, 101)
            for frame in ("01", "12")
        ],
    }
    for dataset, spacing in {"synapse": (-1.0, -1.0, 3.0), "acdc": (-1.4, -1.4, 7.0)}.items():
        (folder / dataset).mkdir()
        for array, index in ((image, 0), (label, 1)):
            affine = np.diag([*spacing, 1.0])
            affine[:3, 3] = 30, 20, -7
            nib.save(nib.Nifti1Image(array, affine), folder / f"{dataset}{index}.nii.gz")
            for pair in names[dataset]:
                (folder / dataset / f"{pair[index]}.nii.gz").symlink_to(folder / f"{dataset}{index}.nii.gz")
    return folder


def small_run_of_an_overlay(bundle, dataset, made_up_data, folder, **tiny):
    """Train, evaluate and infer with an overlay on two cases and a tiny network; gives the training's folder."""
    shared = {
        **tiny,
        "dataset_dir": str(made_up_data / dataset),
        "training_data": "$@datalist['training'][:2]",
        "validation_data": "$@datalist['validation'][:1]",
        "ckpt_dir": str(folder / "models"),
        "output_dir": str(folder / "eval"),
        "epochs": 1,
        "val_interval": 1,
    }
    overlay = f"{dataset}.json"
    run(bundle, "train.json", overlay, **shared)
    assert (folder / "models" / "model.pt").is_file()
    assert (folder / "models" / "last.pt").is_file()
    run(bundle, "train.json", overlay, "evaluate.json", **shared)
    with open(folder / "eval" / "val_dsc_raw.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
    inference = run(bundle, "inference.json", overlay, workflow_type="infer", **shared)
    image = inference.parser.get_parsed_content("images")[0]
    prediction = nib.load(next((folder / "eval").glob("*_pred.nii.gz")))
    assert prediction.shape == nib.load(image).shape
    assert np.allclose(prediction.affine, nib.load(image).affine)
    return shared


def test_inference_segments_held_out_subjects(bundle_run, cache, tmp_path):
    bundle_run(INFERENCE, "--output_dir", str(tmp_path / "pred"))
    scores = held_out_dsc(tmp_path / "pred", cache)
    assert len(scores) == 3
    assert np.mean(scores) >= 0.90


def test_missing_checkpoint_is_named(bundle_run):
    done = bundle_run(INFERENCE, "--checkpoint", "no_such.pt", check=False)
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
