# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
import sys

import pytest
import torch
from monai.metrics import compute_dice
from monai.networks import one_hot

from monai_vafa.attacks import VolumetricFrequencyAttack
from monai_vafa.hardening import open_training
from monai_vafa.target import open_target

from .runs import BUNDLES, run, tiny_network, workflow

NAME = "vaft_training"
# As the README says it: what each row of Table 2 is trained with.
ALONE = {"clean_weight": 0, "frequency_weight": 0}
ROWS = {
    "vafa_fr": {},
    "vafa": ALONE,
    "pgd": {"attack": "pgd", "attack_parameters": {"recipe": "upstream", "eps": 4, "steps": 5}, **ALONE},
    "bim": {"attack": "bim", "attack_parameters": {"recipe": "upstream", "eps": 4, "steps": 5}, **ALONE},
    "fgsm": {"attack": "fgsm", "attack_parameters": {"eps": 4}, "validation_parameters": {"eps": 4}, **ALONE},
    "gn": {"attack": "gn", "attack_parameters": {"sigma": 4}, "validation_parameters": {"sigma": 4}, **ALONE},
}
KINDS = {"gn": "GaussianNoise", "fgsm": "FastGradientSign", "bim": "BasicIterative", "pgd": "ProjectedGradientDescent"}
# The log of both ranks.
LOUD = ["$dist.init_process_group('gloo')", "$monai.utils.set_determinism(seed=@seed + dist.get_rank())"]
CASES = "$monai.data.load_decathlon_datalist(@datalist_file, True, '{}')[:{}]"
CROP = "$@deterministic_transforms + [@without_metadata, monai.transforms.CenterSpatialCropd(['image', 'label'], 32)]"
DEMO = {
    **tiny_network("unetr"),
    "roi_size": [32, 32, 32],
    "training_data": CASES.format("training", 2),
    "validation_data": CASES.format("validation", 1),
    "validate#preprocessing#transforms": CROP,
}
# From scratch, since the weights of the bundles are those of larger networks.
QUICK = {
    "checkpoint": False,
    "validation_parameters": {"steps": 1},
    "epochs": 1,
    "val_interval": 1,
    "tensorboard": False,
}


@pytest.fixture(autouse=True)
def demo(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


def config(folder, content, name="tiny.json"):
    """A config to lay over those of a bundle."""
    (folder / name).write_text(json.dumps(content))
    return str(folder / name)


def quick(folder, content=DEMO, **overrides):
    """Overrides for a small training."""
    folders = {"ckpt_dir": str(folder / "made"), "configs": ["train.json", config(folder, content)]}
    return {**QUICK, **folders, **overrides}


@pytest.mark.parametrize("row", list(ROWS))
def test_every_row_of_table_2_trains(row, tmp_path):
    made = run(NAME, "train.json", **quick(tmp_path, **ROWS[row]))
    get = made.parser.get_parsed_content
    output = get("train#trainer").state.output[0]
    terms = {name for name in output if str(name).startswith("loss_")}
    assert terms == ({"loss_clean", "loss_adversarial", "loss_frequency"} if row == "vafa_fr" else {"loss_adversarial"})
    attack = get("train#handlers")[1].attack
    assert type(attack).__name__ == KINDS.get(row, "VolumetricFrequencyAttack")
    assert type(get("validate#handlers")[0].attack) is type(attack)
    # The demo clips intensities after its random transforms.
    assert tuple(attack.intensity_range) == (0.0, 1.0)
    best = torch.load(tmp_path / "made" / "model.pt", weights_only=True)
    assert best.keys() == torch.load(tmp_path / "made" / "last.pt", weights_only=True)["model"].keys()


def test_the_best_epoch_is_the_one_with_the_best_dsc_under_attack(tmp_path):
    get = run(NAME, "train.json", **quick(tmp_path)).parser.get_parsed_content
    under_attack, clean = (get(f"validate#{name}").state.metrics for name in ("evaluator", "clean_evaluator"))
    kept = json.loads((tmp_path / "made" / "summary.json").read_text())["best"]["score"]
    assert kept == pytest.approx(under_attack["val_dsc_under_attack"])
    assert kept != pytest.approx(clean["val_dsc"])


def test_properties(tmp_path):
    made = workflow(NAME, "train.json", workflow_type="train", **quick(tmp_path))
    made.initialize()
    assert made.check_properties() == []
    assert made.trainer.network.training
    assert len(made.train_dataset) == 2


def test_the_demo_is_what_it_was(tmp_path):
    """What the shipped weights were made with."""
    made = workflow(NAME, "train.json", workflow_type="train")
    made.initialize()
    trainer, attack, validation = (
        made.parser.get_parsed_content(id_) for id_ in ("train#trainer", "train#handlers#1", "validate#handlers#0")
    )
    start = trainer.network.state_dict()
    clean = torch.load(BUNDLES / "unetr_inference" / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(start, clean)
    assert trainer.optimizer.param_groups[0]["initial_lr"] == 0.0005
    assert (trainer.state.max_epochs, len(trainer.data_loader)) == (4, 16)
    attack, validation = attack.attack, validation.attack
    assert (attack.q_max, attack.steps, attack.step_size, attack.amp) == (20, 5, 3, "bfloat16")
    assert (validation.q_max, validation.steps, validation.step_size, validation.amp) == (20, 20, 1, None)
    for made in (attack, validation):
        assert (made.recipe, made.similarity, made.activation, made.seed) == ("upstream", "ssim", "softmax", 0)
        assert list(made.block_size) == [32, 32, 32]
        assert tuple(made.intensity_range) == (0.0, 1.0)


def test_unetrpp_starts_from_its_own_weights(tmp_path):
    training = open_training("unetrpp_inference", ckpt_dir=tmp_path, output_dir=tmp_path)
    clean = torch.load(BUNDLES / "unetrpp_inference" / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(training.trainer.network.state_dict(), clean, check_dtype=False)


ROI_SIZE = {"unetr": [32, 32, 16], "unetrpp": [16, 32, 32]}


@pytest.mark.parametrize("dataset", ["synapse", "acdc"])
@pytest.mark.parametrize("network", ["unetr", "unetrpp"])
def test_public_data_is_trained_on_and_attacked(dataset, network, made_up_data, tmp_path):
    """With the published budgets, as in the README."""
    tiny = {
        **tiny_network(network),
        "roi_size": ROI_SIZE[network],
        "training_data": "$@datalist['training'][:2]",
        "validation_data": "$@datalist['validation'][:1]",
    }
    q_max = {"synapse": 20, "acdc": 10}[dataset]
    options = {
        "bundle": f"{network}_inference",
        "dataset_dir": str(made_up_data / dataset),
        "attack_parameters": {"q_max": q_max, "steps": 1},
        "validation_parameters": {"q_max": q_max, "steps": 1},
        "iterations_per_epoch": 1,
    }
    options = quick(tmp_path, tiny, **options)
    options["configs"][1:1] = [f"{dataset}.json"]
    get = run(NAME, "train.json", **options).parser.get_parsed_content
    output = get("train#trainer").state.output
    assert all(torch.isfinite(torch.as_tensor(output[0][name])) for name in ("loss_adversarial", "loss_frequency"))
    attack = get("train#handlers")[1].attack
    assert (attack.q_max, attack.step_size, attack.amp) == (q_max, 1, None)
    assert list(attack.block_size) == ROI_SIZE[network]


@pytest.mark.parametrize("dataset", ["synapse", "acdc"])
def test_clean_weights_of_public_data_are_asked_for(dataset, made_up_data, tmp_path):
    folders = {"ckpt_dir": tmp_path, "output_dir": tmp_path, "dataset_dir": made_up_data / dataset}
    with pytest.raises(FileNotFoundError, match=f"models/{dataset}/model\\.pt"):
        open_training("unetr_inference", config_file=["train.json", f"{dataset}.json"], **folders)


def dsc_under_attack(checkpoint):
    """DSC without background of one held-out subject, clean and under a short attack."""
    target = open_target("unetr_inference", checkpoint=checkpoint, device="cpu")
    case = target.preprocess(target.cases()[0])
    image, label = (case[key][None].as_tensor() for key in ("image", "label"))
    attack = VolumetricFrequencyAttack(steps=5, step_size=4, intensity_range=(0, 1))
    attacked = target.windows(attack, target.network, image, label)
    scores = []
    for each in (image, attacked):
        prediction = target.logits(each).argmax(1, keepdim=True)
        dice = compute_dice(one_hot(prediction, 4), one_hot(label, 4), include_background=False)
        scores.append(dice.mean().item())
    return scores


def test_hardened_weights_hold_where_the_clean_ones_break():
    """A quick look at one held-out subject; the bundle's README has the whole table."""
    models = BUNDLES / NAME / "models"
    clean, clean_attacked = dsc_under_attack(None)
    for path in (models / "model.pt", models / "vafa" / "model.pt"):
        dsc, attacked = dsc_under_attack(path)
        assert attacked > clean_attacked + 0.05
        assert dsc > clean - 0.03


def test_half_precision_weights_load_into_a_network_of_single_precision():
    for path in sorted((BUNDLES / NAME / "models").rglob("model.pt")):
        kept = torch.load(path, weights_only=True)
        assert {value.dtype for value in kept.values() if value.is_floating_point()} == {torch.float16}
        network = open_target("unetr_inference", checkpoint=path, device="cpu").network
        for key, value in network.state_dict().items():
            assert torch.equal(value, kept[key].to(value.dtype))


def command_line(options):
    """MONAI drops an option that is None, but not an expression that gives None."""
    texts = {key: "$None" if value is None else value for key, value in options.items()}
    return [t for key, value in texts.items() for t in (f"--{key}", value if isinstance(value, str) else repr(value))]


@pytest.mark.slow
def test_killed_training_goes_on_as_if_nothing_had_happened(environment, tmp_path):
    """Killed in its third epoch, between two checkpoints."""

    def command(folder, *more):
        options = quick(tmp_path, epochs=4, iterations_per_epoch=2, val_interval=3)
        options["ckpt_dir"] = str(tmp_path / folder)
        train = str(BUNDLES / NAME / "configs" / "train.json")
        return [sys.executable, "-m", "monai.bundle", "run", "--config_file", train, *command_line(options), *more]

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
    assert other["record"] == one["record"]


@pytest.mark.slow
def test_both_ranks_train_adversarially(environment, tmp_path):
    options = quick(tmp_path, {**DEMO, "validation_data": CASES.format("validation", 2)})
    options["configs"][1:1] = ["multi_gpu_train.json"]
    options["configs"].append(config(tmp_path, {"initialize": LOUD}, "loud.json"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *("-m", "monai.bundle", "run", "--config_file", str(BUNDLES / NAME / "configs" / "train.json")),
            *command_line(options),
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
    assert (tmp_path / "made" / "last.pt").is_file()
    assert (tmp_path / "made" / "model.pt").is_file()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs mlflow")
def test_tracking_with_mlflow(environment, tmp_path):
    import mlflow

    train = str(BUNDLES / NAME / "configs" / "train.json")
    words = command_line(quick(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", train, "--tracking", "mlflow", *words],
        env={**environment, "PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/made/eval/mlruns.db")
    [experiment] = [each for each in client.search_experiments() if each.name == "monai_experiment"]
    recorded = [each.data.metrics for each in client.search_runs([experiment.experiment_id])]
    metrics = {name for each in recorded for name in each}
    assert {"train_loss", "val_dsc_under_attack"} <= metrics
