# SPDX-License-Identifier: Apache-2.0
"""Overlays: an attack in a bundle's own evaluation, with plain MONAI, and a worst case that took its time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_vafa.attacks import ROSTER
from monai_vafa.attacks.gradient import LinfAttack
from monai_vafa.outputs import as_logits
from monai_vafa.target import open_target
from tests.target import zoo

from .runs import BUNDLES, run, workflow

ATTACK = BUNDLES / "vafa_attack" / "configs" / "overlay.json"


def content(folder):
    """Hash of every file of a bundle."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def plain_monai(bundle, files, *arguments):
    """As somebody does who stands in the folder of the bundle, as its README says."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str([*map(str, files)])]
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


@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid], ids=lambda make: make.__name__)
def test_own_evaluation_under_attack(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    files = ["configs/train.json", "configs/evaluate.json", ATTACK]
    options = {"activation": make.__name__, "block_size": "8", "steps": "2"}
    words = [word for name, value in options.items() for word in (f"--vafa_attack#{name}", value)]
    plain_monai(bundle, files, *words, "--output_dir", str(tmp_path / "out"))
    assert content(bundle.folder) == before
    target = open_target(bundle.folder, workflow="evaluate", overrides=bundle.overrides)
    saved = sorted((tmp_path / "out").glob("*_trans.nii.gz"))
    assert len(saved) == len(target.cases()) == 2
    for item, path in zip(target.cases(), saved, strict=True):
        data = target.preprocess(item)
        with torch.no_grad():
            pred = as_logits(target.inferer(data["image"][None], target.network))[0]
        clean = np.asarray(target.postprocessing({**data, "pred": pred})["pred"])
        attacked = np.asarray(nib.load(path).dataobj)
        attacked = attacked[None] if attacked.ndim == 3 else np.moveaxis(attacked, -1, 0)
        assert attacked.shape == clean.shape
        assert (attacked != clean).mean() > 0.001


THOROUGH = ("vafa_attack", "benchmark.json", "thorough.json")
SEA = ["apgd_masked_ce", "apgd_masked_ce_balanced", "apgd_jsd"]


def test_thorough_worst_case_is_of_long_attacks_within_one_ball(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    given = {"bundle": str(bundle.folder), "dataset_dir": str(bundle.data), "eps": 2}
    read = workflow(*THOROUGH, workflow_type="infer", **given).parser.get_parsed_content
    rows, targets, groups = read("rows"), read("targets"), read("worst_cases")
    attacks = rows.build(next(iter(targets.values())))
    assert list(attacks) == rows.attacks == rows.without_controls == groups["worst case"]
    assert groups["sea"] == SEA
    assert "apgd_dice" in attacks
    for name, attack in attacks.items():
        assert isinstance(attack, LinfAttack) and type(attack) is ROSTER[name].attack
        assert (attack.steps, attack.eps) == (300, 2), name


def test_thorough_worst_case_is_written(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    cases = "${name: target.cases(@dataset_dir)[:1] for name, target in @targets.items()}"
    given = {"bundle": str(bundle.folder), "dataset_dir": str(bundle.data), "output_dir": str(tmp_path / "out")}
    run(*THOROUGH, workflow_type="infer", cases=cases, visibility_metrics={}, steps=5, **given)
    with open(tmp_path / "out" / "worst_case.csv", newline="") as file:
        worst = {row["group"]: row["attack"] for row in csv.DictReader(file)}
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert content["status"] == "complete"
    assert worst["sea"] in content["worst_cases"]["sea"] == SEA
    assert worst["worst case"] in content["worst_cases"]["worst case"]


@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid], ids=lambda make: make.__name__)
def test_universal_perturbation_of_one_section_is_a_row_of_a_run_on_others(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    given = {"bundle": str(bundle.folder), "dataset_dir": str(bundle.data), "workflow": "evaluate"}
    made = {"output_dir": str(tmp_path / "made"), "eps": 8, "epochs": 2, "cases": "$@target.cases(@dataset_dir)[:1]"}
    run("vafa_attack", "attack.json", "universal.json", workflow_type="infer", **given, **made)
    path = tmp_path / "made" / "universal.pt"
    content = torch.load(path, weights_only=True)
    assert content["eps"] == 8
    assert tuple(content["perturbation"].shape[1:]) == open_target(bundle.folder).roi_size
    assert 0 < content["perturbation"].abs().max() <= 8 / 255 + 1e-6
    tried = {"output_dir": str(tmp_path / "out"), "cases": "$@target.cases(@dataset_dir)[1:]", "visibility_metrics": {}}
    attacks = {"universal": {"path": str(path)}, "gn": {"sigma": 8}}
    run("vafa_attack", "attack.json", workflow_type="infer", attacks=attacks, **given, **tried)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "complete"
    assert summary["attacks"]["universal"]["value"] == 8
    assert summary["threat_models"]["universal"].startswith("no access")
    assert len(summary["attacks"]["universal"]["parameters"]["sha256"]) == 64
