# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from .runs import BUNDLES, workflow

FOLDER = str(BUNDLES / "vafa_attack")
BENCHMARK = "vafa_attack/configs/benchmark.json"
ONE_CASE = "$monai.data.load_decathlon_datalist(@datalist_file, True, @datalist_section)[:1]"
QUANTIZE = {"_target_": "monai_vafa.attacks.QuantizeOnly", "_mode_": "callable", "q": 20}
ONE_STEP = {"_target_": "monai_vafa.attacks.VolumetricFrequencyAttack", "_mode_": "callable", "steps": 1}
# hd95 would take as long as the rest.
QUICK = {
    name: metric
    for name, metric in json.loads((BUNDLES / BENCHMARK).read_text())["segmentation_metrics"].items()
    if name != "hd95"
}
UNETR = {"feature_size": 4, "hidden_size": 16, "mlp_dim": 16, "num_heads": 2}
UNETRPP = {"dims": [8, 16, 32, 64], "depths": 1, "decoder_depth": 1, "proj_sizes": 4, "decoder_proj_size": 4}
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
        datalist=ONE_CASE,
        attacks={"quantize_only": QUANTIZE, "vafa": ONE_STEP},
        sweeps={"quantize_only": {"q": [20, 40]}},
        worst_cases={"worst case": ["vafa"]},
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
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text())["status"] == "complete"
    assert (tmp_path / "out" / "index.html").stat().st_size > 1000


def test_one_model_is_run_without_building_the_other(bundle_run, tmp_path):
    arguments = [
        *("--datalist", ONE_CASE, "--output_dir", str(tmp_path / "out"), "--sweeps", "{}", "--worst_cases", "{}"),
        *("--attacks", json.dumps({"quantize_only": QUANTIZE})),
        *("--unetrpp#checkpoint", "no_such.pt"),
    ]
    bundle_run(BENCHMARK, *arguments, "--evaluations", "{'unetr': '@unetr#evaluation'}")
    assert [row["attack"] for row in rows(tmp_path / "out" / "unetr" / "cases.csv")] == ["clean", "quantize_only"]
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text())["models"] == ["unetr"]
    done = bundle_run(BENCHMARK, *arguments, check=False)
    assert "checkpoint 'no_such.pt' does not exist" in done.stderr


def test_every_attack_can_be_built(demo):
    made = benchmark().parser
    attacks = made.get_parsed_content("rows").build(intensity_range=(0.0, 1.0))
    assert {name: type(attack).__name__ for name, attack in attacks.items() if "-" not in name} == {
        name: config["_target_"].split(".")[-1] for name, config in made.config["attacks"].items()
    }
    assert attacks["pgd"].recipe == "tuned"
    assert attacks["pgd_upstream"].recipe == "upstream"
    assert type(attacks["apgd_jsd"].loss).__name__ == "JensenShannonLoss"
    assert attacks["vafa"].rescale_slices
    assert not attacks["vafa_no_rescale"].rescale_slices
    assert attacks["vafa-q_max40"].q_max == 40
    groups = made.get_parsed_content("worst_cases")
    assert not set(groups["worst case"]) & {"quantize_only", "rescale_only", "gn", "clean"}
    assert set(groups["sea"]) < set(groups["worst case"])


def test_rows_of_the_checklist_come_when_asked_for(demo):
    plain = benchmark().parser.get_parsed_content("rows")
    asked = benchmark(checklist=True).parser.get_parsed_content("rows")
    assert set(asked.rows) - set(plain.rows) == {"pgd-eps128", "pgd-steps40", "pgd-seed1", "pgd-seed2"}
    assert asked.budgets["pgd"] == "eps"
    assert asked.values["pgd"] == {"eps": 4.0, "steps": 20, "seed": 0}
    made = benchmark(checklist=True, bundle_root=FOLDER).parser.get_parsed_content("benchmark")
    assert made._facts["checklist"]["huge_budget"] == 128


@pytest.mark.parametrize("flag", ["checklist", "transfer"])
def test_flags_that_are_texts_are_refused(demo, flag):
    with pytest.raises(RuntimeError) as refused:
        benchmark(**{flag: "false"}, bundle_root=FOLDER).parser.get_parsed_content("benchmark")
    assert f"{flag}='false' must be True or False" in str(refused.value.__cause__)


@pytest.mark.parametrize("overlay", [(), ("table1_synapse.json",)])
@pytest.mark.parametrize(
    ("parameter", "block_size", "values"),
    [
        ("q_max", 8, [20, 10, 30, 40, 60, 80]),
        ("steps", 8, [20, 10, 30, 40, 50, 60]),
        ("block_size", 32, [32, 4, 8, 16, 48]),
    ],
)
def test_sweeps_of_the_paper(demo, overlay, parameter, block_size, values):
    made = benchmark(*overlay, f"sweep_{parameter}.json").parser
    attacks = made.get_parsed_content("rows").build()
    assert [getattr(attack, parameter) for attack in attacks.values()] == values
    assert attacks["vafa"].block_size == block_size
    assert made.get_parsed_content("output_dir") == f"output/sweep_{parameter}"
    assert made.get_parsed_content("published") == ("synapse" if overlay else None)


def test_block_sizes_go_up_to_the_window(demo):
    rows_ = benchmark("sweep_block_size.json", smallest_window=96).parser.get_parsed_content("rows")
    assert list(rows_.rows)[-1] == "vafa-block_size96"


def tiny(dataset, made_up_data, folder):
    """What makes an overlay small, and checkpoints for the two tiny networks."""
    window, depth_first = WINDOWS[dataset]
    return {
        "dataset_dir": str(made_up_data / dataset),
        "output_dir": str(folder / "out"),
        **{f"unetr#network_def#{key}": value for key, value in UNETR.items()},
        **{f"unetrpp#network_def#{key}": value for key, value in UNETRPP.items()},
        "unetrpp#network_def#feature_size": 4,
        "unetr#roi_size": window,
        "unetrpp#roi_size": depth_first[::-1],
        "unetr#checkpoint": str(folder / "unetr.pt"),
        "unetrpp#checkpoint": str(folder / "unetrpp.pt"),
    }


@pytest.fixture(params=list(WINDOWS))
def overlay(request, made_up_data, tmp_path):
    """An overlay on made-up data: name of the data set and overrides."""
    overrides = tiny(request.param, made_up_data, tmp_path)
    parser = benchmark(f"table1_{request.param}.json", **overrides).parser
    for seed, model in enumerate(("unetr", "unetrpp")):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            torch.save(parser.get_parsed_content(f"{model}#network_def").state_dict(), tmp_path / f"{model}.pt")
    return request.param, overrides


def test_overlays_attack_both_published_forms(overlay, tmp_path):
    dataset, overrides = overlay
    section = {"synapse": "validation", "acdc": "test"}[dataset]
    made = benchmark(
        f"table1_{dataset}.json",
        **overrides,
        **{f"attacks#{attack}#steps": 1 for attack in ("pgd", "bim", "vafa")},
        **{"attacks#vafa#block_size": 8, "transfer": True},
        # Made-up volumes are thinner than real ones.
        **{"visibility_metrics#lpips": None, **({"visibility_metrics#ssim": None} if dataset == "synapse" else {})},
        datalist=f"$monai_vafa.data.{dataset}_datalist(@dataset_dir)['{section}'][:1]",
    )
    made.initialize()
    made.run()
    made.finalize()
    budgets = {"synapse": ("eps8", "q_max30"), "acdc": ("eps4", "q_max20")}[dataset]
    for model in ("unetr", "unetrpp"):
        cases = {row["attack"]: row for row in rows(tmp_path / "out" / model / "cases.csv")}
        assert set(cases) > {"clean", "pgd", "fgsm", "bim", "gn", "vafa", f"fgsm-{budgets[0]}", f"vafa-{budgets[1]}"}
        case = cases["clean"]["case"]
        files = [tmp_path / "out" / model / "adversarial" / f"{case}_{attack}.nii.gz" for attack in ("clean", "fgsm")]
        clean, attacked = (nib.load(file) for file in files)
        original = nib.load(made.parser.get_parsed_content("datalist")[0]["image"])
        where = np.indices(clean.shape).reshape(3, -1)
        where = np.linalg.inv(original.affine) @ clean.affine @ np.vstack([where, np.ones(where.shape[1])])
        there = map_coordinates(original.get_fdata(), where[:3], order=1, mode="nearest")
        if dataset == "synapse":
            clip = (-175, 250) if model == "unetr" else made.parser.get_parsed_content("intensity_clip")
            assert np.median(np.abs(clean.get_fdata().ravel() - there.clip(*clip))) < 0.5
            assert np.abs(attacked.get_fdata() - clean.get_fdata()).max() == pytest.approx(
                4 / 255 * np.ptp(clip), rel=0.01
            )
        else:
            assert np.corrcoef(clean.get_fdata().ravel(), there)[0, 1] > 0.98
    transfer = rows(tmp_path / "out" / "transfer.csv")
    assert len(transfer) == 2 * 5
    assert all(0 <= float(row["dsc"]) <= 1 for row in transfer)


@pytest.mark.parametrize("dataset", list(WINDOWS))
@pytest.mark.parametrize("model", ["unetr", "unetrpp"])
def test_overlays_have_the_networks_of_the_models_own_bundles(model, dataset):
    made = benchmark(f"table1_{dataset}.json").parser.config[model]
    bundle = json.loads((BUNDLES / f"{model}_inference" / "configs" / f"{dataset}.json").read_text())
    for key, value in bundle["network_def"].items():
        assert key in ("img_size", "out_channels") or made["network_def"][key] == value
    turn = -1 if model == "unetrpp" else 1
    assert made["roi_size"] == bundle["roi_size"][::turn]


def test_overlays_see_what_the_models_own_bundles_see(overlay):
    """The published UNETR++ has the slices first; here they come last, as attacks and files have them."""
    dataset, overrides = overlay
    made = benchmark(f"table1_{dataset}.json", **overrides).parser
    case = {key: made.get_parsed_content("datalist")[0][key] for key in ("image", "label")}
    for model in ("unetr", "unetrpp"):
        network_def = {key: value for key, value in overrides.items() if key.startswith(f"{model}#network_def")}
        bundle = workflow(
            f"{model}_inference",
            "inference.json",
            f"{dataset}.json",
            workflow_type="infer",
            dataset_dir=overrides["dataset_dir"],
            checkpoint=overrides[f"{model}#checkpoint"],
            roi_size=overrides[f"{model}#roi_size"][:: -1 if model == "unetrpp" else 1],
            **{key.removeprefix(f"{model}#"): value for key, value in network_def.items()},
        ).parser
        logits = []
        for parser, prefix in ((made, f"{model}#"), (bundle, "")):
            image = parser.get_parsed_content(f"{prefix}preprocessing")(dict(case))["image"]
            inferer, network = (parser.get_parsed_content(f"{prefix}{name}") for name in ("inferer", "network"))
            with torch.no_grad():
                logits.append(inferer(image[None].as_tensor(), network.eval()))
        if model == "unetrpp":
            logits[1] = logits[1].permute(0, 1, 4, 3, 2)
        torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
