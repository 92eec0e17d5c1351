# SPDX-License-Identifier: Apache-2.0
"""Runs that several test modules make, and what they look at."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow

BUNDLES = Path(__file__).parents[2] / "bundles"
_TINY = {
    "unetr": {"feature_size": 4, "hidden_size": 16, "mlp_dim": 16, "num_heads": 2},
    "unetrpp": {
        "dims": [8, 16, 32, 64],
        "depths": 1,
        "decoder_depth": 1,
        "proj_sizes": 4,
        "decoder_proj_size": 4,
        "feature_size": 4,
    },
}


def tiny_network(network, id_="network_def"):
    """Overrides that make a config's network small."""
    return {f"{id_}#{key}": value for key, value in _TINY[network].items()}


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


def workflow(name, /, *files, workflow_type, **overrides):
    """A bundle's config with overlays, in this process and from any folder."""
    configs = [str(BUNDLES / name / "configs" / file) for file in files]
    overrides = {"bundle_root": str(BUNDLES / name), **overrides}
    return ConfigWorkflow(configs, workflow_type=workflow_type, logging_file=False, **overrides)


def run(name, /, *files, workflow_type="train", **overrides):
    made = workflow(name, *files, workflow_type=workflow_type, **overrides)
    made.initialize()
    made.run()
    made.finalize()
    return made


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
