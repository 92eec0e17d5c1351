# SPDX-License-Identifier: Apache-2.0
"""Any bundle, attacked by this project's own configs."""

from __future__ import annotations

import csv
import hashlib
import json
from inspect import signature

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_vafa.attacks import ROSTER, SliceFrequencyAttack, VolumetricFrequencyAttack
from monai_vafa.metrics import TrunkUnavailable
from monai_vafa.outputs import as_logits, predicted_labels
from monai_vafa.target import open_target
from tests.target import zoo

from .runs import BUNDLES

CLASSES = {"own_scripts": 3, "slices": 4, "pictures": 2}


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def content(folder):
    """Hash of every file of a bundle."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A machine without LPIPS, and a working directory that has nothing to do with any bundle."""
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("monai_vafa.metrics.lpips.find_trunk", no_trunk)
    monkeypatch.chdir(tmp_path)


def no_trunk(trunk):
    raise TrunkUnavailable("not here")


QUICK = {"pfa": {"steps": 1}, "vafa": {"steps": 1}}
ONE_CASE = "$@target.cases(@dataset_dir)[:1]"
ONE_CASE_EACH = "${name: target.cases(@dataset_dir)[:1] for name, target in @targets.items()}"


def any_bundle(bundle, kind="attack", **overrides):
    settings = {"bundle": str(bundle.folder), "dataset_dir": str(bundle.data), "output_dir": "out", **overrides}
    config = str(BUNDLES / "vafa_attack" / "configs" / f"{kind}.json")
    return ConfigWorkflow(config, workflow_type="infer", logging_file=False, **settings)


def finish(made):
    made.initialize()
    made.run()
    made.finalize()
    return made.parser.get_parsed_content


@pytest.mark.parametrize("make", zoo.ALL, ids=lambda make: make.__name__)
def test_any_bundle_is_attacked_with_a_full_report(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    get = finish(any_bundle(bundle, steps=1))
    cases = rows("out/cases.csv")
    assert len({row["case"] for row in cases}) == (4 if make in (zoo.softmax, zoo.slices, zoo.yaml_configs) else 2)
    names = ["clean", "quantize_only", "rescale_only", "pfa", "vafa", "vafa_no_rescale"]
    assert [row["attack"] for row in cases[:6]] == names
    assert all(row["ssim"] and row["dsc"] for row in cases)
    attacked = [row for row in cases if row["attack"] == "vafa"]
    assert all(float(row["rmse"]) > 0.5 for row in attacked)
    assert max(float(row["changed_voxel_rate"]) for row in attacked) > 0
    case = cases[0]["case"]
    assert case in ("case0", "case0_0", "case2_0")
    for file in ("index.html", f"figures/{case}.png", f"adversarial/{case}_vafa.nii.gz"):
        assert (tmp_path / "out" / file).stat().st_size > 500
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["status"] == "complete"
    assert len(rows("out/metrics.csv")) == len(cases) * CLASSES.get(make.__name__, 3)
    assert content(bundle.folder) == before
    # The clean row is what the bundle itself predicts, before its post-processing goes back to the grid of the file.
    target = open_target(bundle.folder)
    item = target.preprocess(get("cases")[0])
    with torch.no_grad():
        own = predicted_labels(as_logits(target.inferer(item["image"][None], target.network)), target.activation)
    saved = np.asarray(nib.load(f"out/predictions/{case}_clean.nii.gz").dataobj)
    own = own[0].as_tensor().numpy()
    assert own.max() > 0
    assert np.array_equal(saved[None] if len(own) == 1 else np.moveaxis(saved, -1, 0), own)


def test_a_second_run_goes_on_and_other_weights_are_refused(tmp_path):
    bundle = zoo.pictures(tmp_path / "zoo")
    finish(any_bundle(bundle, attacks=QUICK))
    before = (tmp_path / "out" / "cases.csv").read_bytes()
    finish(any_bundle(bundle, attacks=QUICK))
    assert (tmp_path / "out" / "cases.csv").read_bytes() == before
    torch.manual_seed(1)
    state = {key: value + 0.1 for key, value in torch.load(bundle.folder / "models" / "model.pt").items()}
    torch.save(state, tmp_path / "mine.pt")
    made = any_bundle(bundle, checkpoint=str(tmp_path / "mine.pt"), attacks=QUICK)
    with pytest.raises(RuntimeError) as refused:
        finish(made)
    assert "checkpoint_sha256" in str(refused.value.__cause__)


def test_activation_can_be_told(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    get = finish(any_bundle(bundle, cases=ONE_CASE, activation="sigmoid", attacks=QUICK))
    assert get("target").activation == "sigmoid"
    assert nib.load("out/predictions/case0_clean.nii.gz").shape[-1] == 3


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_along_another_axis_are_attacked_within_themselves(axis, tmp_path):
    """There VAFA's re-scaling would stretch lines, not slices."""
    bundle = zoo.slices(tmp_path / "zoo")
    inferer = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": axis}
    zoo.change(bundle.folder, "inference", inferer=inferer)
    get = finish(any_bundle(bundle, cases=ONE_CASE, attacks={"rescale_only": {}, "vafa": {"steps": 1}}))
    attack = get("evaluator").attacks["vafa"]
    assert type(attack) is VolumetricFrequencyAttack
    assert list(attack.block_size) == [1 if i == axis else 16 for i in range(3)]
    assert not attack.rescale_slices
    assert [row["attack"] for row in rows("out/cases.csv")] == ["clean", "vafa"]


@pytest.mark.parametrize("make", [zoo.slices, zoo.pictures], ids=lambda make: make.__name__)
def test_networks_of_images_are_attacked_slice_by_slice(make, tmp_path):
    attack = any_bundle(make(tmp_path / "zoo")).parser.get_parsed_content("evaluator").attacks["vafa"]
    assert type(attack) is SliceFrequencyAttack
    assert len(attack.block_size) == 2


@pytest.mark.parametrize("make", [zoo.sigmoid, zoo.pictures], ids=lambda make: make.__name__)
def test_any_bundle_goes_through_the_whole_benchmark(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    stepwise = {name: "steps" in signature(entry.attack).parameters for name, entry in ROSTER.items()}
    attacks = {name: {"steps": 2} if steps else {} for name, steps in stepwise.items()}
    sweeps = {"vafa": {"q_max": [10]}}
    quiet = {"rows#common#progress": False}
    finish(any_bundle(bundle, "benchmark", cases=ONE_CASE_EACH, attacks=attacks, sweeps=sweeps, **quiet))
    cases = rows(tmp_path / "out" / make.__name__ / "cases.csv")
    assert [row["attack"] for row in cases] == ["clean", *ROSTER, "vafa-q_max10"]
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text())["status"] == "complete"
    assert (tmp_path / "out" / "index.html").stat().st_size > 10_000


@pytest.mark.parametrize("make", zoo.ALL, ids=lambda make: make.__name__)
def test_every_attack_of_the_benchmark_fits_every_bundle(make, tmp_path):
    get = any_bundle(make(tmp_path / "zoo"), "benchmark").parser.get_parsed_content
    [target] = get("targets").values()
    size = [side if side > 0 else 32 for side in target.window]
    for attack in get("rows").build(target).values():
        attack.check_image((1, 1, *size))
