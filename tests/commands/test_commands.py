# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_vafa``: attack and harden any bundle."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import monai.bundle
import pytest
import torch

from monai_vafa import __main__ as command_line
from monai_vafa import commands
from monai_vafa.target import open_target, shipped_bundles
from tests.target import zoo
from tests.target.zoo import configs

from .runs import ATTACKS, HARDEN, QUICK, content, rows, shell


@pytest.mark.slow
def test_attack_by_command_and_by_the_line_it_logs(tmp_path):
    """In processes of their own, as a user would."""
    bundle = zoo.pictures(tmp_path / "zoo")
    command = (sys.executable, "-m", "monai_vafa", "attack", bundle.folder, bundle.data, "--output_dir", "out", *QUICK)
    code, out, err = shell(*command)
    assert code == 0, out + err
    assert "its configs are code that runs" in out + err
    assert "case0: vafa" in out + err
    assert "Report: out/index.html" in out + err
    cases = rows("out/cases.csv")
    assert len(cases) == 2 * 4
    line = next(line for line in (out + err).splitlines() if line.startswith("python -m monai.bundle run"))
    os.rename("out", "by_command")
    python = f"PATH={os.path.dirname(sys.executable)}:$PATH"
    code, out, err = shell("sh", "-c", f"{python} {line}")
    assert code == 0, out + err
    seconds = {"seconds": ""}
    assert [{**row, **seconds} for row in rows("out/cases.csv")] == [{**row, **seconds} for row in cases]


def test_benchmark_by_command(run, tmp_path):
    bundle = zoo.pictures(tmp_path / "zoo")
    settings = {"attacks": ["gn"], "sweeps": {}, "worst_cases": {}, "visibility_metrics": {}}
    words = [word for id_, value in settings.items() for word in (f"--{id_}", value)]
    with pytest.raises(SystemExit, match="did you mean 'sweeps'"):
        run("benchmark", bundle.folder, bundle.data, "--sweep", "{}")
    run("benchmark", bundle.folder, bundle.data, *words)
    assert [row["attack"] for row in rows("output/benchmark_pictures/pictures/cases.csv")] == ["clean", "gn"] * 2


@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid], ids=lambda make: make.__name__)
def test_harden_by_command(make, run, tmp_path):
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    run("harden", "--bundle", bundle.folder, "--dataset_dir", bundle.data, *HARDEN)
    assert content(bundle.folder) == before
    old = open_target(bundle.folder).network.state_dict()
    new = open_target(bundle.folder, checkpoint="output/hardened/model.pt").network.state_dict()
    assert 0 < max((new[name] - value).abs().max() for name, value in old.items() if "weight" in name) < 0.01


@pytest.mark.slow
def test_harden_a_bundle_with_code_of_its_own_by_command_and_by_the_line_it_logs(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    (bundle.folder / "scripts").mkdir()
    (bundle.folder / "scripts" / "__init__.py").write_text("from monai.networks.nets import UNet as Own\n")
    for name in ("train", "inference"):
        zoo.change(bundle.folder, name, network_def={**zoo.unet(classes=3), "_target_": "scripts.Own"})
    command = (sys.executable, "-m", "monai_vafa", "harden", bundle.folder, bundle.data, "--ckpt_dir", "made", *HARDEN)
    code, out, err = shell(*command)
    assert code == 0, out + err
    line = next(line for line in (out + err).splitlines() if line.startswith("python -m monai.bundle run"))
    os.rename("made", "by_command")
    python = f"PATH={os.path.dirname(sys.executable)}:$PATH"
    code, out, err = shell("sh", "-c", f"{python} {line}")
    assert code == 0, out + err
    assert torch.load("made/model.pt").keys() == torch.load("by_command/model.pt").keys()


def test_harden_a_network_of_images(run, tmp_path):
    bundle = zoo.pictures(tmp_path / "zoo")
    inference = json.loads((bundle.folder / "configs" / "inference.json").read_text())
    config = configs.train(
        inference["network_def"],
        [
            {"_target_": "LoadImaged", "keys": ["image", "label"]},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": -1},
            {"_target_": "EnsureChannelFirstd", "keys": "label", "channel_dim": "no_channel"},
            {"_target_": "Resized", "keys": ["image", "label"], "spatial_size": [32, 16], "mode": "nearest"},
            {"_target_": "ScaleIntensityd", "keys": "image"},
        ],
        inference["inferer"],
        random=[],
        loss={"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
        post=[{"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False], "to_onehot": 2}],
        training="$[{'image': i, 'label': i.replace('images', 'labels')} for i in @images]",
        validation="$[{'image': i, 'label': i.replace('images', 'labels')} for i in @images]",
        ids={"images": inference["images"]},
    )
    (bundle.folder / "configs" / "train.json").write_text(json.dumps(config))
    run("harden", bundle.folder, bundle.data, *HARDEN)
    assert open_target(bundle.folder, checkpoint="output/hardened/model.pt").spatial_dims == 2


def test_a_key_metric_that_is_no_dsc_is_mentioned(run, tmp_path, caplog):
    bundle = zoo.softmax(tmp_path / "zoo")
    metric = {"_target_": "HausdorffDistance", "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
    words = ("--overrides", str({"validate#key_metric": {"val_hd": metric}}))
    run("harden", bundle.folder, bundle.data, *HARDEN, *words)
    assert "the best weights will be those of the best val_hd_under_attack, which is not a DSC" in caplog.text
    assert not open_target(bundle.folder).network.training


@pytest.mark.parametrize("name", commands.__all__)
def test_help_fits_a_screen(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["monai_vafa", name, "--help"])
    with pytest.raises(SystemExit) as left:
        command_line.main()
    assert left.value.code == 0
    text = "".join(capsys.readouterr())
    assert 10 < len(text.splitlines()) < 40
    assert getattr(commands, name).__doc__.splitlines()[0].rstrip(".") in " ".join(text.split())


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("attack", "vafa_attack/configs/attack.json"),
        ("benchmark", "vafa_attack/configs/benchmark.json"),
        ("harden", "vaft_training/configs/train.json"),
    ],
)
def test_each_runs_one_config(name, config, monkeypatch):
    asked = {}
    monkeypatch.setattr(commands.monai.bundle, "run", lambda **words: asked.update(words))
    getattr(commands, name)(seed=None, config_file="train.json")
    # MONAI would ignore None, and takes its own configs as config_file.
    assert asked == {"config_file": str(shipped_bundles() / config), "seed": "$None", "configs": "train.json"}


def test_overrides_reach_the_bundle_as_they_are(run, tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    overrides = {"window": 8, "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@window"}}
    run("attack", bundle.folder, bundle.data, *QUICK, "--overrides", overrides)
    target = json.loads(Path("output/softmax/summary.json").read_text())["parameters"]["target"]
    assert target["overrides"] == overrides
    assert target["inferer"]["roi_size"] == 8


def test_a_copied_bundle_runs_from_where_it_is(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["monai_vafa", "bundle", "vafa_attack", "mine"])
    command_line.main()
    assert capsys.readouterr().out.strip() == os.path.abspath("mine")
    bundle = zoo.pictures(Path("zoo"))
    run("attack", bundle.folder, bundle.data, *QUICK, "--output_dir", "one")
    words = {"bundle": str(bundle.folder), "dataset_dir": str(bundle.data), "output_dir": "other"}
    words |= {"attacks": ATTACKS, "visibility_metrics": {}, "logging_file": False}
    monai.bundle.run(config_file="mine/configs/attack.json", **words)
    one, other = ([{**row, "seconds": ""} for row in rows(f"{name}/cases.csv")] for name in ("one", "other"))
    assert one == other
