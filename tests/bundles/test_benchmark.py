# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from monai_vafa.attacks import ROSTER
from monai_vafa.target import open_target

from .runs import tiny_network, workflow

BENCHMARK = "vafa_attack/configs/benchmark.json"
ONE_CASE = "${name: target.cases()[:1] for name, target in @targets.items()}"
# hd95 would take as long as the rest.
QUICK = {
    "dsc": {"_target_": "DiceMetric", "include_background": True, "reduction": "none"},
    "nsd": {
        "_target_": "SurfaceDiceMetric",
        "class_thresholds": [1.0] * 4,
        "include_background": True,
        "reduction": "none",
    },
}
# Windows as the networks take them.
WINDOWS = {"synapse": ([32, 32, 16], [16, 32, 32]), "acdc": ([32, 32, 16], [8, 32, 32])}


def benchmark(*overlays, **overrides):
    return workflow("vafa_attack", "benchmark.json", *overlays, workflow_type="infer", **overrides)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def demo(cache, monkeypatch, tmp_path):
    """The demo cohort, and a working directory that has nothing to do with it."""
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_both_demo_models_are_attacked_and_what_transfers_is_scored(demo, tmp_path):
    made = benchmark(
        cases=ONE_CASE,
        attacks={"quantize_only": {}, "vafa": {"steps": 1}},
        sweeps={"quantize_only": {"q": [20, 40]}},
        output_dir=str(tmp_path / "out"),
        segmentation_metrics=QUICK,
    )
    made.initialize()
    made.run()
    made.finalize()
    for model in ("unetr", "unetrpp"):
        cases = {row["attack"]: row for row in rows(tmp_path / "out" / model / "cases.csv")}
        assert list(cases) == ["clean", "quantize_only", "vafa", "quantize_only-q40"]
        assert float(cases["clean"]["dsc_foreground"]) >= 0.88
        assert float(cases["vafa"]["nsd"]) < float(cases["clean"]["nsd"])
        assert not (tmp_path / "out" / model / "adversarial" / "demo_1000_quantize_only-q40.nii.gz").exists()
    transfer = rows(tmp_path / "out" / "transfer.csv")
    assert [(row["source"], row["attack"]) for row in transfer] == [
        (source, attack) for source in ("unetr", "unetrpp") for attack in ("quantize_only", "vafa")
    ]
    # The control asks no network, so its file is the same whichever model it was made for.
    assert float(transfer[0]["dsc"]) == pytest.approx(float(cases["quantize_only"]["dsc"]), abs=1e-4)
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert content["status"] == "complete"
    assert content["worst_cases"] == {"worst case": ["vafa"]}
    assert (tmp_path / "out" / "index.html").stat().st_size > 1000


def test_models_are_chosen_by_name(bundle_run, tmp_path):
    arguments = ["--cases", ONE_CASE, "--output_dir", str(tmp_path / "out"), "--attacks", "['quantize_only']"]
    bundle_run(BENCHMARK, *arguments, "--sweeps", "{}", "--models", "{'unetr': {'bundle': 'unetr_inference'}}")
    assert [row["attack"] for row in rows(tmp_path / "out" / "unetr" / "cases.csv")] == ["clean", "quantize_only"]
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text())["models"] == ["unetr"]
    done = bundle_run(BENCHMARK, *arguments, "--models#unetrpp#checkpoint", "no_such.pt", check=False)
    assert "'no_such.pt' does not exist" in done.stderr


def test_the_roster_is_run_at_its_budgets(demo):
    made = benchmark().parser
    attacks = made.get_parsed_content("rows").build(made.get_parsed_content("targets")["unetr"])
    assert {name: type(attack) for name, attack in attacks.items() if "-" not in name} == {
        name: entry.attack for name, entry in ROSTER.items()
    }
    assert sum("-" in name for name in attacks) == sum(len(entry.sweep) for entry in ROSTER.values())
    assert attacks["pgd"].recipe == "tuned"
    assert attacks["pgd_upstream"].recipe == "upstream"
    assert type(attacks["apgd_jsd"].loss).__name__ == "JensenShannonLoss"
    assert attacks["vafa"].rescale_slices
    assert not attacks["vafa_no_rescale"].rescale_slices
    assert attacks["vafa-q_max40"].q_max == 40
    groups = made.get_parsed_content("worst_cases")
    bounded = {name for name, entry in ROSTER.items() if entry.budget is not None and not entry.control}
    assert set(groups["worst case"]) == bounded
    assert groups["sea"] == ["apgd_masked_ce", "apgd_masked_ce_balanced", "apgd_jsd"]
    assert set(groups["sea"]) < set(groups["worst case"])


def test_rows_of_the_checklist_come_when_asked_for(demo):
    plain = benchmark().parser.get_parsed_content("rows")
    asked = benchmark(checklist=True).parser
    more = {"pgd-eps128", "pgd-steps40", "pgd-seed1", "pgd-seed2"}
    assert set(asked.get_parsed_content("rows").rows) - set(plain.rows) == more
    assert asked.get_parsed_content("benchmark")._facts["checklist"]["huge_budget"] == 128


@pytest.mark.parametrize("flag", ["checklist", "transfer"])
def test_flags_that_are_texts_are_refused(demo, flag):
    with pytest.raises(RuntimeError) as refused:
        benchmark(**{flag: "false"}).parser.get_parsed_content("benchmark")
    assert f"{flag}='false' must be True or False" in str(refused.value.__cause__)


@pytest.mark.parametrize(
    ("parameter", "values"), [("q_max", [20, 10, 30, 40, 60, 80]), ("steps", [20, 10, 30, 40, 50, 60])]
)
def test_sweeps_of_the_paper(demo, parameter, values):
    attacks, sweeps = {"vafa": {"block_size": 8}}, {"vafa": {parameter: values[1:]}}
    made = benchmark(attacks=attacks, sweeps=sweeps).parser.get_parsed_content
    built = made("rows").build(made("targets")["unetr"])
    assert [getattr(attack, parameter) for attack in built.values()] == values


def test_blocks_as_large_as_the_window(demo):
    made = benchmark(attacks=["vafa"], sweeps={"vafa": {"block_size": [8, 96]}}).parser.get_parsed_content
    built = made("rows").build(made("targets")["unetr"])
    sides = [list(attack.block_size) for attack in built.values()]
    assert sides == [[32, 32, 32], [8, 8, 8], [80, 96, 80]]


def tiny(dataset, made_up_data, folder):
    """What makes an overlay small, and checkpoints for the two tiny networks."""
    settings = {"dataset_dir": str(made_up_data / dataset), "output_dir": str(folder / "out")}
    for model, window in zip(("unetr", "unetrpp"), WINDOWS[dataset], strict=True):
        turn = -1 if model == "unetrpp" else 1
        small = {**tiny_network(model), "network_def#img_size": window, "roi_size": window[::turn]}
        checkpoint = str(folder / f"{model}.pt")
        overlay = workflow("vafa_attack", f"table1_{dataset}.json", workflow_type="infer").parser.config["models"]
        overrides = {**overlay[model]["overrides"], **small}
        settings |= {f"models#{model}#overrides": overrides, f"models#{model}#checkpoint": checkpoint}
        with torch.random.fork_rng():
            torch.manual_seed(len(model))
            # Random weights, as the network's config makes them.
            network = open_target(
                f"{model}_inference",
                config_file=["inference.json", f"{dataset}.json"],
                overrides={**overrides, "dataset_dir": settings["dataset_dir"]},
                checkpoint=False,
            ).network
        torch.save(network.state_dict(), checkpoint)
    return settings


@pytest.fixture(params=list(WINDOWS))
def overlay(request, made_up_data, tmp_path):
    """An overlay on made-up data: name of the data set and overrides."""
    return request.param, tiny(request.param, made_up_data, tmp_path)


def test_overlays_attack_both_published_forms(overlay, tmp_path):
    dataset, overrides = overlay
    made = benchmark(
        f"table1_{dataset}.json",
        **overrides,
        **{f"attacks#{attack}#steps": 1 for attack in ("pgd", "bim", "vafa")},
        **{"attacks#vafa#block_size": 8, "transfer": True, "cases": ONE_CASE, "visibility_metrics": {}},
    )
    made.initialize()
    made.run()
    made.finalize()
    get = made.parser.get_parsed_content
    budgets = {"synapse": ("eps8", "q_max30"), "acdc": ("eps4", "q_max20")}[dataset]
    for model, target in get("targets").items():
        cases = {row["attack"]: row for row in rows(tmp_path / "out" / model / "cases.csv")}
        assert set(cases) > {"clean", "pgd", "fgsm", "bim", "gn", "vafa", f"fgsm-{budgets[0]}", f"vafa-{budgets[1]}"}
        case = cases["clean"]["case"]
        files = [tmp_path / "out" / model / "adversarial" / f"{case}_{attack}.nii.gz" for attack in ("clean", "fgsm")]
        clean, attacked = (nib.load(file) for file in files)
        original = nib.load(get("cases")[model][0]["image"])
        where = np.indices(clean.shape).reshape(3, -1)
        where = np.linalg.inv(original.affine) @ clean.affine @ np.vstack([where, np.ones(where.shape[1])])
        there = map_coordinates(original.get_fdata(), where[:3], order=1, mode="nearest")
        if dataset == "synapse":
            clip = (-175, 250) if model == "unetr" else target.parts.build("intensity_clip", "intensity_clip")
            assert np.median(np.abs(clean.get_fdata().ravel() - there.clip(*clip))) < 0.5
            assert np.abs(attacked.get_fdata() - clean.get_fdata()).max() == pytest.approx(
                4 / 255 * np.ptp(clip), rel=0.01
            )
        else:
            assert np.corrcoef(clean.get_fdata().ravel(), there)[0, 1] > 0.98
    transfer = rows(tmp_path / "out" / "transfer.csv")
    assert len(transfer) == 2 * 5
    assert all(0 <= float(row["dsc"]) <= 1 for row in transfer)


def test_overlays_see_what_the_models_own_bundles_see(overlay):
    """The published UNETR++ has the slices first; here they come last, as attacks and files have them."""
    dataset, overrides = overlay
    targets = benchmark(f"table1_{dataset}.json", **overrides).parser.get_parsed_content("targets")
    for (model, target), window in zip(targets.items(), WINDOWS[dataset], strict=True):
        own = open_target(
            f"{model}_inference",
            config_file=["inference.json", f"{dataset}.json"],
            overrides={**tiny_network(model), "dataset_dir": overrides["dataset_dir"], "roi_size": window},
            checkpoint=overrides[f"models#{model}#checkpoint"],
        )
        assert target.window == tuple(window[:: -1 if model == "unetrpp" else 1])
        case = target.cases()[0]
        logits = [opened.logits(opened.preprocess(case)["image"].as_tensor()[None]) for opened in (target, own)]
        if model == "unetrpp":
            logits[1] = logits[1].permute(0, 1, 4, 3, 2)
        torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
