# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

TRAIN, INFERENCE = "unetr_inference/configs/train.json", "unetr_inference/configs/inference.json"


def dsc(prediction, label, classes):
    both = [(prediction == c, label == c) for c in classes]
    return np.mean([2 * (p & y).sum() / (p.sum() + y.sum()) for p, y in both])


def test_inference_segments_held_out_subjects(bundle_run, cache, tmp_path):
    bundle_run(INFERENCE, "--output_dir", str(tmp_path / "pred"))
    scores = []
    for path in sorted((tmp_path / "pred").glob("*.nii.gz")):
        prediction = nib.load(path)
        label = nib.load(cache / "demo_cohort_v1" / "labelsTr" / path.name.replace("_pred", ""))
        assert np.allclose(prediction.affine, label.affine)
        # without background
        scores.append(dsc(np.asarray(prediction.dataobj), np.asarray(label.dataobj), (1, 2, 3)))
    assert len(scores) == 3
    assert np.mean(scores) >= 0.90


def test_missing_checkpoint_is_named(bundle_run):
    done = bundle_run(INFERENCE, "--checkpoint", "no_such.pt", check=False)
    assert done.returncode != 0
    assert "checkpoint 'no_such.pt' does not exist" in done.stderr


@pytest.mark.slow
def test_training_runs_and_saves_the_best(bundle_run, tmp_path):
    two = "$monai.data.load_decathlon_datalist(@datalist_file, True, '{}')[:{}]"
    bundle_run(
        TRAIN,
        *("--ckpt_dir", str(tmp_path / "models"), "--epochs", "2", "--val_interval", "1"),
        *("--train#dataset#data", two.format("training", 2), "--validate#dataset#data", two.format("validation", 1)),
    )
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state.values())
