# SPDX-License-Identifier: Apache-2.0
"""Table 2 of the paper: models hardened against each attack, under all attacks."""

from __future__ import annotations

import json

import pytest
import torch

from monai_vafa.results.files import read_json

from .runs import BUNDLES, run, tiny_network, workflow

TABLE = "../../vaft_training/configs/table2.json"
CONTENT = json.loads((BUNDLES / "vaft_training" / "configs" / "table2.json").read_text())
ROWS = ["clean", "gn", "fgsm", "bim", "pgd", "vafa", "vafa_fr"]
DSC_ALONE = {
    "segmentation_metrics": {"dsc": {"_target_": "DiceMetric", "reduction": "none"}},
    "visibility_metrics": {},
}
NETWORKS = ("unetr", "unetrpp")


@pytest.fixture(autouse=True)
def demo(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


def table2(*overlays, **overrides):
    return run("vafa_attack", "benchmark.json", *overlays, TABLE, workflow_type="infer", **overrides)


def test_demo_rows_are_attacked_and_compared(tmp_path):
    one = "${name: target.cases()[:1] for name, target in @targets.items()}"
    rows = {name: CONTENT["weights"]["unetr"][name] for name in ("clean", "vafa_fr")}
    attacks = {name: CONTENT["attacks"][name] for name in ("quantize_only", "fgsm")}
    options = {"weights": {"unetr": rows}, "attacks": attacks, "worst_cases": {"worst case": ["fgsm"]}, "cases": one}
    table2(**options, **DSC_ALONE, output_dir="out")
    hardened = read_json(tmp_path / "out" / "benchmark.json")["hardened"]
    assert hardened == {"unetr_clean": ["unetr", "clean"], "unetr_vafa_fr": ["unetr", "vafa_fr"]}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Change against the model trained on clean images" in page
    means = {name: read_json(tmp_path / "out" / name / "summary.json")["means"] for name in hardened}
    assert means["unetr_clean"]["clean"] != means["unetr_vafa_fr"]["clean"]
    assert list((tmp_path / "out" / "figures").glob("hardening_*.png"))


def test_demo_table_has_the_rows_whose_weights_come_with_the_bundle():
    made = workflow("vafa_attack", "benchmark.json", TABLE, workflow_type="infer")
    made.initialize()
    get = made.parser.get_parsed_content
    assert list(get("targets")) == [f"unetr_{row}" for row in ("clean", "pgd", "vafa", "vafa_fr")]
    assert get("rows").attacks == list(CONTENT["attacks"])


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["synapse", "acdc"])
def test_published_numbers_stand_beside_both_networks(dataset, made_up_data, tmp_path):
    """With the budgets that the README names for each."""
    roi_size = {"unetr": [32, 32, 16], "unetrpp": [32, 32, {"synapse": 16, "acdc": 8}[dataset]]}
    q_max, eps = {"synapse": (20, 4), "acdc": (10, 2)}[dataset]
    table1 = json.loads((BUNDLES / "vafa_attack" / "configs" / f"table1_{dataset}.json").read_text())
    models, weights = {}, {}
    for net in NETWORKS:
        overrides = {**table1["models"][net]["overrides"], **tiny_network(net), "roi_size": roi_size[net]}
        if net == "unetrpp":
            overrides["network_def#img_size"] = roi_size[net][::-1]
        models[net] = {**table1["models"][net], "overrides": overrides, "checkpoint": False}
    shared = {"dataset_dir": str(made_up_data / dataset), "published": dataset, "q_max": q_max, "eps": eps}
    made = workflow(
        "vafa_attack", "benchmark.json", f"table1_{dataset}.json", workflow_type="infer", models=models, **shared
    )
    made.initialize()
    for net, target in made.parser.get_parsed_content("targets").items():
        torch.save(target.network.state_dict(), tmp_path / f"{net}.pt")
        weights[net] = dict.fromkeys(ROWS, str(tmp_path / f"{net}.pt"))
    options = {
        **{f"attacks#{name}#steps": 1 for name in ("bim", "pgd", "vafa", "pfa")},
        **{f"attacks#{name}#block_size": 8 for name in ("vafa", "quantize_only")},
        "cases": "${name: target.cases()[:1] for name, target in @targets.items()}",
        **DSC_ALONE,
    }
    made = table2(f"table1_{dataset}.json", models=models, weights=weights, output_dir="out", **shared, **options)
    names = [f"{net}_{row}" for net in NETWORKS for row in ROWS]
    assert list(read_json(tmp_path / "out" / "benchmark.json")["hardened"]) == names
    page = (tmp_path / "out" / "index.html").read_text()
    published = {"synapse": ("66.33", "78.19"), "acdc": ("73.05", "91.23")}[dataset]
    assert all(number in page for number in published)
    attacks = made.parser.get_parsed_content("rows").build(
        next(iter(made.parser.get_parsed_content("targets").values()))
    )
    found = (attacks["vafa"].q_max, attacks["pgd"].eps, attacks["gn"].sigma, attacks["pfa"].rmse)
    assert found == (q_max, eps, eps, eps)
