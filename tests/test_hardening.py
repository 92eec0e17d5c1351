# SPDX-License-Identifier: Apache-2.0
"""Any bundle is hardened by its own training."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.handlers import CheckpointSaver

from monai_vafa.attacks import SliceFrequencyAttack
from monai_vafa.hardening import open_training
from monai_vafa.target import open_target
from tests.target import zoo
from tests.target.zoo import configs

TRAIN = Path(__file__).parents[1] / "bundles" / "vaft_training" / "configs" / "train.json"
QUICK = {
    "attack_parameters": {"steps": 1},
    "validation_parameters": {"steps": 1},
    "epochs": 1,
    "val_interval": 1,
    "tensorboard": False,
}


def content(folder):
    """Hash of every file of a bundle."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def harden(bundle, folder, **overrides):
    settings = {"bundle": str(bundle.folder), "dataset_dir": str(bundle.data), "ckpt_dir": str(folder), **QUICK}
    made = ConfigWorkflow(str(TRAIN), workflow_type="train", logging_file=False, **{**settings, **overrides})
    made.initialize()
    made.run()
    made.finalize()
    return made.parser.get_parsed_content


def opened(bundle, folder, **options):
    return open_training(bundle.folder, ckpt_dir=folder, output_dir=folder, dataset_dir=bundle.data, **options)


@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid, zoo.yaml_configs], ids=lambda make: make.__name__)
def test_any_bundle_is_hardened(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    get = harden(bundle, tmp_path / "made")
    assert content(bundle.folder) == before
    assert {path.name for path in (tmp_path / "made").iterdir()} <= {"model.pt", "last.pt", "summary.json", "eval"}
    assert get("train#handlers")[1].attack.activation == open_target(bundle.folder).activation
    assert {"loss_clean", "loss_adversarial", "loss_frequency"} <= set(get("train#trainer").state.output[0])
    old = open_target(bundle.folder).network.state_dict()
    new = open_target(bundle.folder, checkpoint=tmp_path / "made" / "model.pt").network.state_dict()
    changes = [(new[name] - value).abs().max() for name, value in old.items() if "weight" in name]
    # A few steps away from the bundle's own weights: it is where the training started.
    assert 0 < max(changes) < 0.01


def test_best_weights_are_chosen_under_attack(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    training = opened(bundle, tmp_path / "made")
    attack = training.attack("vafa", {"steps": 3}, validation=True)
    assert attack.intensity_range is not None
    handler = harden(bundle, tmp_path / "made", validation_parameters={"steps": 3})("validate#handlers")[0]
    evaluator = training.evaluator
    evaluator.run(1)
    clean = evaluator.state.metrics["val_mean_dice_under_attack"]
    handler.attach(evaluator)
    evaluator.run(1)
    assert evaluator.state.metrics["val_mean_dice_under_attack"] < clean
    evaluator.remove_event_handler(handler, Events.ITERATION_STARTED)
    training.clean_evaluator.run(1)
    assert training.clean_evaluator.state.metrics["val_mean_dice"] == pytest.approx(clean)


def test_settings_reach_the_training(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    path = bundle.folder / "configs" / "train.json"
    config = json.loads(path.read_text())
    config["learning_rate"] = 0.004
    config["optimizer"]["lr"] = "@learning_rate"
    path.write_text(json.dumps(config))
    options = {"epochs": 3, "iterations_per_epoch": 1, "learning_rate_scale": 0.5, "device": "cpu"}
    training = opened(bundle, tmp_path / "made", **options)
    assert training.parts.parser.get_parsed_content("epochs") == training.trainer.state.max_epochs == 3
    assert training.trainer.state.epoch_length == 1
    assert training.trainer.optimizer.param_groups[0]["lr"] == 0.002
    config["optimizer"]["lr"] = "$@learning_rate * 2"
    path.write_text(json.dumps(config))
    training = opened(bundle, tmp_path / "made", **options)
    assert training.trainer.optimizer.param_groups[0]["lr"] == 0.004


def test_nothing_of_the_bundle_saves(tmp_path, monkeypatch):
    bundle = zoo.softmax(tmp_path / "zoo")
    monkeypatch.setattr(CheckpointSaver, "__init__", lambda *args, **kwargs: pytest.fail("a saver was made"))
    training = opened(bundle, tmp_path / "made")
    training.evaluator.run(1)
    assert not (tmp_path / "made").exists()


def test_from_scratch_and_from_other_weights(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    own = torch.load(bundle.folder / "models" / "model.pt", weights_only=True)
    scratch = opened(bundle, tmp_path / "made", checkpoint=False).trainer.network.state_dict()
    name = next(name for name in own if "weight" in name)
    assert not torch.equal(scratch[name], own[name])
    torch.save({"model": {key: value + 1 for key, value in own.items()}}, tmp_path / "other.pt")
    other = opened(bundle, tmp_path / "made", checkpoint=tmp_path / "other.pt").trainer.network.state_dict()
    torch.testing.assert_close(other[name], own[name] + 1)


def test_two_dimensional_networks_are_attacked_by_vafa_2d(tmp_path):
    bundle = zoo.pictures(tmp_path / "zoo")
    inference = json.loads((bundle.folder / "configs" / "inference.json").read_text())
    both = ["image", "label"]
    pairs = "$[{'image': i, 'label': i.replace('images', 'labels')} for i in @images]"
    config = configs.train(
        inference["network_def"],
        [
            {"_target_": "LoadImaged", "keys": both},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": -1},
            {"_target_": "EnsureChannelFirstd", "keys": "label", "channel_dim": "no_channel"},
            {"_target_": "Resized", "keys": both, "spatial_size": [32, 16], "mode": "nearest"},
            {"_target_": "ScaleIntensityd", "keys": "image"},
        ],
        inference["inferer"],
        random=[],
        loss={"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
        post=[{"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False], "to_onehot": 2}],
        training=pairs,
        validation=pairs,
        ids={"images": inference["images"]},
    )
    (bundle.folder / "configs" / "train.json").write_text(json.dumps(config))
    get = harden(bundle, tmp_path / "made")
    assert isinstance(get("train#handlers")[1].attack, SliceFrequencyAttack)
    assert open_target(bundle.folder, checkpoint=tmp_path / "made" / "model.pt").spatial_dims == 2


def test_a_key_metric_that_is_not_a_dsc_is_mentioned(tmp_path, caplog):
    bundle = zoo.softmax(tmp_path / "zoo")
    metric = {"_target_": "HausdorffDistance", "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
    config = json.loads((bundle.folder / "configs" / "train.json").read_text())
    zoo.change(bundle.folder, "train", validate={**config["validate"], "key_metric": {"val_hd": metric}})
    opened(bundle, tmp_path / "made")
    assert "those of the best val_hd_under_attack, which is not a DSC" in caplog.text


def refused(bundle, folder, message, error=ValueError, **options):
    with pytest.raises(error, match=message):
        opened(bundle, folder, **options)


def test_bundles_that_can_not_be_hardened(tmp_path):
    refused(zoo.slices(tmp_path / "slices"), tmp_path / "made", "slices has no train config.*it has inference.json")
    bundle = zoo.softmax(tmp_path / "zoo")
    refused(bundle, bundle.folder / "models", "is in the folder of the bundle")
    refused(bundle, tmp_path / "made", "nosuch.json", FileNotFoundError, config_file="nosuch.json")
    config = json.loads((bundle.folder / "configs" / "train.json").read_text())
    slices = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2}
    changes = {
        "no evaluator with the id validate#evaluator": None,
        "slice by slice": {**config["validate"], "inferer": slices},
        "no key metric": {
            **config["validate"],
            "evaluator": {**config["validate"]["evaluator"], "key_val_metric": None},
        },
    }
    for message, validate in changes.items():
        zoo.change(bundle.folder, "train", validate=validate)
        refused(bundle, tmp_path / "made", message)
    zoo.change(bundle.folder, "train", validate=config["validate"], optimizer={"_target_": "torch.optim.Adam"})
    refused(bundle, tmp_path / "made", "names no lr", learning_rate_scale=0.5)
    (bundle.folder / "models" / "model.pt").unlink()
    refused(bundle, tmp_path / "made", "has no weights", FileNotFoundError)


UNSHUFFLED = {"train#dataloader#shuffle": False}
NOTHING_TO_DO = {
    "epochs": ({"epochs": 0}, "epochs=0 must be an integer, 1 or more"),
    "half_an_epoch": ({"epochs": 0.5}, "epochs=0.5 must be an integer"),
    "iterations": ({"iterations_per_epoch": 0}, "iterations_per_epoch=0 must be"),
    "learning_rate": ({"learning_rate_scale": 0}, "learning_rate_scale=0 must be above 0"),
    "warmup": ({"warmup_epochs": 1}, "warmup_epochs=1 and every=1 leave no iteration with an attack"),
    "every": ({"every": 5}, "every=5 leave no iteration with an attack in 1 epochs of"),
    "no_training_data": (
        {"overrides": {"train#dataset#data": [], "train#dataloader#shuffle": False}},
        "has no data to train on",
    ),
    "no_validation_data": ({"overrides": {"validate#dataset#data": []}}, "has no data to validate on"),
}


def refused_run(bundle, folder, message, **settings):
    with pytest.raises((ValueError, RuntimeError)) as refusal:
        harden(bundle, folder, **settings)
    errors = [refusal.value]
    while errors[-1].__cause__ is not None:
        errors.append(errors[-1].__cause__)
    assert any(re.search(message, str(error)) for error in errors), errors


@pytest.mark.parametrize("name", list(NOTHING_TO_DO))
def test_a_training_that_would_harden_or_keep_nothing_is_refused(name, tmp_path):
    """Before anything is written."""
    settings, message = NOTHING_TO_DO[name]
    refused_run(zoo.softmax(tmp_path / "zoo"), tmp_path / "made", message, **settings)
    assert not (tmp_path / "made").exists()


def test_shorter_than_the_interval_of_its_validation(tmp_path):
    """Both validations see the last epoch, which is saved."""
    get = harden(zoo.softmax(tmp_path / "zoo"), tmp_path / "made", epochs=2, val_interval=5, iterations_per_epoch=1)
    network = get("train#trainer").network.state_dict()
    torch.testing.assert_close(torch.load(tmp_path / "made" / "model.pt", weights_only=True), network)
    for name in ("evaluator", "clean_evaluator"):
        assert get(f"validate#{name}").state.epoch == 2
        assert get(f"validate#{name}").state.metrics


def test_a_resumed_training_keeps_to_what_it_started_with(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    harden(bundle, tmp_path / "made", iterations_per_epoch=1)
    weights = bundle.folder / "models" / "model.pt"
    told = json.loads((tmp_path / "made" / "summary.json").read_text())["start"]
    assert told["checkpoint_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    get = harden(bundle, tmp_path / "made", epochs=2, iterations_per_epoch=3, resume=True)
    assert get("train#trainer").state.iteration == 2 * 3
    torch.save({key: value * 2 for key, value in torch.load(weights, weights_only=True).items()}, tmp_path / "other.pt")
    changes = {
        "checkpoint_sha256": {"checkpoint": str(tmp_path / "other.pt")},
        "learning_rate": {"learning_rate_scale": 0.5},
        "attack": {"attack": "pgd"},
        "seed": {"seed": 1},
    }
    for name, changed in changes.items():
        message = rf"belongs to a training with another {name} \("
        refused_run(bundle, tmp_path / "made", message, epochs=3, resume=True, **changed)


@pytest.mark.parametrize("command", ["monai_vafa", "monai.bundle"])
def test_ctrl_c_ends_a_training_with_one_line(command, tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    folders = {"bundle": bundle.folder, "dataset_dir": bundle.data, "ckpt_dir": tmp_path / "made"}
    words = [f"--{key}={value}" for key, value in {**QUICK, **folders, "epochs": 999}.items()]
    config = ["run", "--config_file", str(TRAIN)]
    command = [sys.executable, "-m", command, *(["harden"] if command == "monai_vafa" else config), *words]
    # Jobs in the background ignore Ctrl-C, and so would a process that this one starts as such.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, preexec_fn=listen, **pipes) as process:
        for line in process.stdout:
            if "Epoch: 2/999" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert "Interrupted in epoch" in rest
    assert "Traceback" not in rest
    told = json.loads((tmp_path / "made" / "summary.json").read_text())
    assert told["status"] == "interrupted"
    assert (tmp_path / "made" / "last.pt").is_file()
    assert (tmp_path / "made" / "model.pt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid], ids=lambda make: make.__name__)
def test_both_ranks_train_with_vaft(make, tmp_path):
    """By the bundle's own config for several GPUs."""
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    terms = "' '.join(sorted(k for k in @train#trainer.state.output[0] if 'loss_' in str(k)))"
    tell = f"$pathlib.Path({str(tmp_path)!r}, f'terms{{dist.get_rank()}}').write_text({terms})"
    imports = ["$import monai_vafa", "$import pathlib", "$import torch.distributed as dist"]
    (tmp_path / "tell.json").write_text(json.dumps({"imports": imports, "+run": [tell]}))
    options = {
        "bundle": bundle.folder,
        "dataset_dir": bundle.data,
        "ckpt_dir": tmp_path / "made",
        "configs": ["train.json", "multi_gpu_train.json"],
        **QUICK,
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", "--config_file", str([str(TRAIN), str(tmp_path / "tell.json")])]
    done = subprocess.run(
        [*command, *(word for key, value in options.items() for word in (f"--{key}", str(value)))],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-6000:]
    for rank in (0, 1):
        assert (tmp_path / f"terms{rank}").read_text() == "loss_adversarial loss_clean loss_frequency"
    assert content(bundle.folder) == before
    open_target(bundle.folder, checkpoint=tmp_path / "made" / "model.pt")
