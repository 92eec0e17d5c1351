# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Overlays that attack and harden a bundle by its own configs, with plain MONAI."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from monai_vafa.outputs import as_logits
from monai_vafa.target import open_target
from tests.target import zoo

from .runs import BUNDLES

ATTACK = BUNDLES / "vafa_attack" / "configs" / "overlay.json"
VAFT = BUNDLES / "vaft_training" / "configs" / "overlay.json"


def content(folder):
    """Hash of every file of a bundle."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def plain_monai(bundle, files, *arguments, launcher=()):
    """As somebody does who stands in the folder of the bundle, as its README says."""
    command = [sys.executable, *launcher, "-m", "monai.bundle", "run", "--config_file", str([*map(str, files)])]
    done = subprocess.run(
        [*command, "--dataset_dir", str(bundle.data), *arguments],
        cwd=bundle.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


OVERRIDES = {"softmax": (), "sigmoid": ("activation", "sigmoid")}


def settings(attack, name):
    words = OVERRIDES[name]
    return (f"--{attack}#{words[0]}", words[1]) if words else ()


@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid], ids=lambda make: make.__name__)
def test_own_evaluation_under_attack(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    files = ["configs/train.json", "configs/evaluate.json", ATTACK]
    words = [*settings("vafa_attack", make.__name__), "--vafa_attack#steps", "2", "--output_dir", str(tmp_path / "out")]
    plain_monai(bundle, files, *words)
    assert content(bundle.folder) == before
    target = open_target(bundle.folder, workflow="evaluate", overrides=bundle.overrides)
    saved = sorted((tmp_path / "out").glob("*_trans.nii.gz"))
    assert len(saved) == len(target.items) == 2
    for item, path in zip(target.items, saved, strict=True):
        data = target.preprocessing(item)
        with torch.no_grad():
            pred = as_logits(target.inferer(data["image"][None], target.network))[0]
        clean = np.asarray(target.postprocessing({**data, "pred": pred})["pred"])
        attacked = np.asarray(nib.load(path).dataobj)
        attacked = attacked[None] if attacked.ndim == 3 else np.moveaxis(attacked, -1, 0)
        assert attacked.shape == clean.shape
        assert (attacked != clean).mean() > 0.001


@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid], ids=lambda make: make.__name__)
def test_own_training_with_vaft(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    words = [*settings("vaft_attack", make.__name__), "--vaft_attack#steps", "1", "--ckpt_dir", str(tmp_path / "made")]
    log = plain_monai(bundle, ["configs/train.json", VAFT], *words, "--vaft_validation_attack#steps", "1")
    assert "VAFT" in log
    assert content(bundle.folder) == before
    old = open_target(bundle.folder).network.state_dict()
    new = open_target(bundle.folder, checkpoint=tmp_path / "made" / "model.pt").network.state_dict()
    changes = [(new[name] - value).abs().max() for name, value in old.items() if "weight" in name]
    # A few steps away from the bundle's own weights: it is where the training started.
    assert 0 < max(changes) < 0.01


def test_the_best_checkpoint_is_chosen_under_attack(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    files = [str(bundle.folder / "configs" / "train.json"), str(VAFT)]
    made = ConfigWorkflow(
        files,
        workflow_type="train",
        logging_file=False,
        bundle_root=str(bundle.folder),
        ckpt_dir=str(tmp_path / "made"),
        **bundle.overrides,
        **{"vaft_validation_attack#steps": 3},
    )
    made.initialize()
    evaluator, handler = (made.parser.get_parsed_content(id_) for id_ in ("validate#evaluator", "vaft_validation"))
    evaluator.run(1)
    under_attack = evaluator.state.metrics["val_mean_dice"]
    evaluator.remove_event_handler(handler, Events.ITERATION_STARTED)
    evaluator.run(1)
    assert under_attack < evaluator.state.metrics["val_mean_dice"]


@pytest.mark.slow
@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid], ids=lambda make: make.__name__)
def test_both_ranks_train_with_vaft(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    files = ["configs/train.json", "configs/multi_gpu_train.json", VAFT]
    words = [*settings("vaft_attack", make.__name__), "--vaft_attack#steps", "1", "--vaft_validation_attack#steps", "1"]
    losses = "$print('terms', dist.get_rank(), sorted(k for k in @train#trainer.state.output[0] if 'loss_' in str(k)))"
    (tmp_path / "tell.json").write_text(json.dumps({"+run": [losses]}))
    log = plain_monai(
        bundle,
        [*files, tmp_path / "tell.json"],
        *words,
        *("--ckpt_dir", str(tmp_path / "made")),
        launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
    )
    for rank in (0, 1):
        assert f"terms {rank} ['loss_adversarial', 'loss_clean', 'loss_frequency']" in log
    assert content(bundle.folder) == before
    open_target(bundle.folder, checkpoint=tmp_path / "made" / "model.pt")
