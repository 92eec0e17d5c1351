# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest
import torch

from monai_vafa.handlers import AttackHandler, VAFTHandler
from monai_vafa.results.files import read_json

from .runs import BUNDLES, run, tiny_network, workflow

NAME = "vaft_training"
ROWS = ("vafa", "gn", "fgsm", "bim", "pgd")
VAFA = {"_target_": "monai_vafa.attacks.VolumetricFrequencyAttack", "_mode_": "callable"}
QUANTIZE = {
    "quantize_only": {"_target_": "monai_vafa.attacks.QuantizeOnly", "_mode_": "callable", "q": 20, "block_size": 8}
}
# As multi_gpu_train.json has it, with the log of both ranks.
LOUD = ["$dist.init_process_group('gloo')", "$monai.utils.set_determinism(seed=@seed + dist.get_rank())"]
# From scratch, since the clean weights are those of a larger network.
CROP = "$@deterministic_transforms + [@without_metadata, monai.transforms.CenterSpatialCropd(['image', 'label'], 32)]"
TINY = {
    **tiny_network("unetr"),
    "clean_checkpoint": None,
    "roi_size": [32, 32, 32],
    "training_data": "$monai.data.load_decathlon_datalist(@datalist_file, True, 'training')[:2]",
    "validation_data": "$monai.data.load_decathlon_datalist(@datalist_file, True, 'validation')[:1]",
    "validate#preprocessing#transforms": CROP,
    "validation_steps": 1,
    "val_interval": 1,
    "epochs": 1,
    "tensorboard": False,
}


@pytest.fixture(autouse=True)
def demo(cache, monkeypatch):
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))


def train(folder, *overlays, **overrides):
    folders = {"ckpt_dir": str(folder), "output_dir": str(folder / "eval")}
    return run(NAME, "train.json", *overlays, **{**TINY, **folders, **overrides})


@pytest.mark.parametrize("overlay", [None, "full", *ROWS])
def test_every_kind_of_hardening_trains(overlay, tmp_path):
    made = train(tmp_path, *([f"{overlay}.json"] if overlay else []))
    get = made.parser.get_parsed_content
    losses = {"loss_clean", "loss_adversarial", "loss_frequency"} & set(get("train#trainer").state.output[0])
    assert len(losses) == (0 if overlay in ROWS else 3)
    assert isinstance(get("hardening"), AttackHandler if overlay in ROWS else VAFTHandler)
    assert get("hardening").attack is get("attack")
    kind = {
        "gn": "GaussianNoise",
        "fgsm": "FastGradientSign",
        "bim": "BasicIterative",
        "pgd": "ProjectedGradientDescent",
    }
    assert type(get("attack")).__name__ == kind.get(overlay, "VolumetricFrequencyAttack")
    assert type(get("validation_attack")) is type(get("attack"))
    best = torch.load(tmp_path / "model.pt", weights_only=True)
    assert best.keys() == torch.load(tmp_path / "last.pt", weights_only=True)["model"].keys()


def test_the_best_epoch_is_the_one_with_the_best_dsc_under_attack(tmp_path):
    get = train(tmp_path).parser.get_parsed_content
    under_attack, clean = (get(f"validate#{name}").state.metrics for name in ("evaluator", "clean_evaluator"))
    kept = torch.load(tmp_path / "last.pt", weights_only=True)["best"]["_saved"][0][0]
    assert kept == pytest.approx(under_attack["val_dsc_under_attack"])
    assert kept != pytest.approx(clean["val_dsc"])


@pytest.mark.parametrize("network", ["unetr", "unetrpp"])
def test_hardening_starts_from_the_clean_weights(network):
    overlays = ["unetrpp.json"] if network == "unetrpp" else []
    made = workflow(NAME, "train.json", *overlays, workflow_type="train", bundle_root=str(BUNDLES / NAME))
    start = made.parser.get_parsed_content("network").state_dict()
    clean = torch.load(BUNDLES / f"{network}_inference" / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(start, clean)


@pytest.mark.parametrize("dataset", ["synapse", "acdc"])
@pytest.mark.parametrize("network", ["unetr", "unetrpp"])
def test_published_hyperparameters(dataset, network, made_up_data):
    overlays = [f"../../{network}_inference/configs/{dataset}.json", f"{dataset}.json", "pgd.json"]
    overlays = ["unetrpp.json", *overlays] if network == "unetrpp" else overlays
    shared = {"dataset_dir": str(made_up_data / dataset), "bundle_root": str(BUNDLES / NAME)}
    made = workflow(NAME, "train.json", *overlays[:-1], workflow_type="train", **shared)
    attack = made.parser.get_parsed_content("attack")
    voxel = workflow(NAME, "train.json", *overlays, workflow_type="train", **shared)
    q_max, eps = {"synapse": (20, 4), "acdc": (10, 2)}[dataset]
    assert (attack.q_max, attack.steps, attack.step_size) == (q_max, 20, 1)
    assert (attack.recipe, attack.similarity, attack.amp) == ("upstream", "ssim", None)
    pgd = voxel.parser.get_parsed_content("attack")
    assert (pgd.eps, pgd.steps) == (eps, 20)
    roi_size = made.parser.get_parsed_content("roi_size")
    assert list(attack.block_size) == [min(32, side) for side in roi_size]
    assert made.parser.get_parsed_content("clean_checkpoint").endswith(f"{network}_inference/models/{dataset}/model.pt")


ROI_SIZE = {"unetr": [32, 32, 16], "unetrpp": [16, 32, 32]}


@pytest.mark.parametrize("dataset", ["synapse", "acdc"])
@pytest.mark.parametrize("network", ["unetr", "unetrpp"])
def test_public_data_is_trained_on_and_attacked(dataset, network, made_up_data, tmp_path):
    overlays = [f"../../{network}_inference/configs/{dataset}.json", f"{dataset}.json"]
    shared = {
        **tiny_network(network),
        "roi_size": ROI_SIZE[network],
        "clean_checkpoint": None,
        "dataset_dir": str(made_up_data / dataset),
        "training_data": "$@datalist['training'][:2]",
        "validation_data": "$@datalist['validation'][:1]",
        "ckpt_dir": str(tmp_path),
        "output_dir": str(tmp_path / "eval"),
        "iterations_per_epoch": 1,
        "epochs": 1,
        "val_interval": 1,
        "steps": 1,
        "validation_steps": 1,
        "tensorboard": False,
    }
    made = run(NAME, "train.json", *overlays, **shared)
    output = made.parser.get_parsed_content("train#trainer").state.output
    assert all(torch.isfinite(torch.as_tensor(output[0][name])) for name in ("loss_adversarial", "loss_frequency"))
    files = ["train.json", *overlays, "evaluate.json"]
    made = workflow(NAME, *files, workflow_type="train", **shared, attacks=QUANTIZE)
    made.initialize()
    made.run()
    made.finalize()
    assert set(read_json(tmp_path / "eval" / "summary.json")["means"]) == {"clean", "quantize_only"}


def test_evaluation_is_under_every_attack(tmp_path):
    """Of the benchmark, and with the budgets of the training."""
    made = workflow(NAME, "train.json", "evaluate.json", workflow_type="train", eps=3, q_max=9)
    benchmark = json.loads((BUNDLES / "vafa_attack" / "configs" / "benchmark.json").read_text())
    made.initialize()
    attacks = made.parser.get_parsed_content("rows").build(intensity_range=(0.0, 1.0))
    assert list(attacks) == list(benchmark["attacks"])
    assert (attacks["pgd"].eps, attacks["pfa"].rmse, attacks["vafa"].q_max, attacks["gn"].sigma) == (3, 3, 9, 3)


def test_hardened_weights_hold_where_the_clean_ones_break(tmp_path):
    """A quick look at one held-out subject; the bundle's README has the whole table."""
    attacks = {"vafa": {**VAFA, "steps": 5, "step_size": 4}}
    dsc = {}
    for name, checkpoint in (("clean", "unetr_inference"), ("vafa_fr", NAME)):
        path = BUNDLES / checkpoint / "models" / "model.pt"
        assert path.stat().st_size < 10_000_000
        run(
            NAME,
            "train.json",
            "evaluate.json",
            checkpoint=str(path),
            attacks=attacks,
            validation_data=TINY["validation_data"],
            segmentation_metrics={"dsc": {"_target_": "DiceMetric", "reduction": "none"}},
            visibility_metrics={},
            output_dir=str(tmp_path / name),
        )
        means = read_json(tmp_path / name / "summary.json")["means"]
        dsc[name] = {row: means[row]["dsc"] for row in means}
    assert dsc["vafa_fr"]["vafa"] > dsc["clean"]["vafa"] + 0.05
    assert dsc["vafa_fr"]["clean"] > dsc["clean"]["clean"] - 0.02


def command_line(options):
    """MONAI drops an option that is None, but not an expression that gives None."""
    texts = {key: "$None" if value is None else value for key, value in options.items()}
    return [t for key, value in texts.items() for t in (f"--{key}", value if isinstance(value, str) else repr(value))]


@pytest.mark.slow
def test_killed_training_goes_on_as_if_nothing_had_happened(environment, tmp_path):
    """Killed in its third epoch, between two checkpoints."""

    def command(folder, *more):
        options = {**TINY, "epochs": 4, "iterations_per_epoch": 2, "val_interval": 3, "batch_size": 1}
        options |= {"ckpt_dir": str(tmp_path / folder), "output_dir": str(tmp_path / folder)}
        texts = command_line(options)
        config = str(BUNDLES / NAME / "configs" / "train.json")
        return [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *texts, *more]

    def finish(*arguments):
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return losses(done.stdout)

    def losses(log):
        found = re.findall(r"Epoch: (\d)/4, Iter: (\d)/2 -- loss: (\S+) loss_adversarial: (\S+)", log)
        return {(epoch, iteration): values for epoch, iteration, *values in found}

    unbroken = finish(*command("unbroken"))
    assert len(unbroken) == 8
    with subprocess.Popen(command("killed"), env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "Epoch: 3/4, Iter: 1/2" in line:
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait() == -signal.SIGKILL
    resumed = finish(*command("killed", "--resume", "True"))
    assert resumed == {step: values for step, values in unbroken.items() if step[0] in "34"}
    one, other = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("unbroken", "killed"))
    torch.testing.assert_close(other["model"], one["model"], rtol=1e-5, atol=1e-6)
    assert other["best"] == one["best"]


@pytest.mark.slow
def test_both_ranks_train_adversarially(environment, tmp_path):
    configs = [str(BUNDLES / NAME / "configs" / file) for file in ("train.json", "multi_gpu_train.json")]
    (tmp_path / "loud.json").write_text(json.dumps({"initialize": LOUD}))
    options = {**TINY, "ckpt_dir": str(tmp_path), "output_dir": str(tmp_path)}
    options["validation_data"] = "$monai.data.load_decathlon_datalist(@datalist_file, True, 'validation')[:2]"
    texts = command_line(options)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *("-m", "monai.bundle", "run", "--config_file", str([*configs, str(tmp_path / "loud.json")]), *texts),
        ],
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    adversarial = re.findall(r"loss_adversarial: (\S+)", done.stdout)
    assert len(adversarial) == len(set(adversarial)) == 2
    assert (tmp_path / "last.pt").is_file()
