# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Table 2 of the paper: models hardened against each attack, under all attacks."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from monai_vafa.results.files import read_json

from .runs import BUNDLES, tiny_network, workflow

TABLE = "../../vaft_training/configs/table2"
CLEAN = str(BUNDLES / "unetr_inference" / "models" / "model.pt")
ROWS = ["clean", "gn", "fgsm", "bim", "pgd", "vafa", "vafa_fr"]
ATTACKS = json.loads((BUNDLES / "vaft_training" / "configs" / "table2.json").read_text())["attacks"]
DSC_ALONE = {"dsc": {"_target_": "DiceMetric", "reduction": "none"}}
NETWORKS = ("unetr", "unetrpp")
WINDOWS = {
    "synapse": {"unetr": [32, 32, 16], "unetrpp": [32, 32, 16]},
    "acdc": {"unetr": [32, 32, 16], "unetrpp": [32, 32, 8]},
}


@pytest.fixture(autouse=True)
def demo(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


def table2(*overlays, **overrides):
    return workflow("vafa_attack", "benchmark.json", *overlays, workflow_type="infer", **overrides)


def finish(made):
    made.initialize()
    made.run()
    made.finalize()


def test_demo_rows_are_attacked_and_compared(tmp_path):
    finish(
        table2(
            f"{TABLE}.json",
            unetr_checkpoints={"clean": CLEAN, "pgd": None, "vafa_fr": str(BUNDLES / "vaft_training/models/model.pt")},
            attacks={"quantize_only": ATTACKS["quantize_only"], "fgsm": ATTACKS["fgsm"]},
            worst_cases={"worst case": ["fgsm"]},
            datalist="$monai.data.load_decathlon_datalist(@datalist_file, True, 'validation')[:1]",
            segmentation_metrics=DSC_ALONE,
            output_dir=str(tmp_path / "out"),
        )
    )
    hardened = read_json(tmp_path / "out" / "benchmark.json")["hardened"]
    assert hardened == {"unetr_clean": ["unetr", "clean"], "unetr_vafa_fr": ["unetr", "vafa_fr"]}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Change against the model trained on clean images" in page
    hashes = {
        name: read_json(tmp_path / "out" / name / "summary.json")["parameters"]["checkpoint_sha256"]
        for name in hardened
    }
    assert len(set(hashes.values())) == 2
    assert list((tmp_path / "out" / "figures").glob("hardening_*.png"))


def test_demo_table_has_the_rows_whose_weights_come_with_the_bundle():
    made = table2(f"{TABLE}.json", bundle_root=str(BUNDLES / "vafa_attack"))
    made.parser.parse(reset=True)
    evaluations = made.parser.get_parsed_content("evaluations")
    assert list(evaluations) == [f"unetr_{row}" for row in ROWS if row != "bim"]
    assert list(made.parser.get_parsed_content("rows").attacks) == list(ATTACKS)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", list(WINDOWS))
def test_published_numbers_stand_beside_both_networks(dataset, made_up_data, tmp_path):
    tiny = {
        "dataset_dir": str(made_up_data / dataset),
        "output_dir": str(tmp_path / "out"),
        "hardened_dir": str(tmp_path / "unetr"),
        "unetrpp_hardened_dir": str(tmp_path / "unetrpp"),
        **tiny_network("unetr", "unetr#network_def"),
        **tiny_network("unetrpp", "unetrpp#network_def"),
        **{f"{net}#roi_size": WINDOWS[dataset][net] for net in NETWORKS},
        **{f"{net}#checkpoint": str(tmp_path / net / "model.pt") for net in NETWORKS},
    }
    first = table2(f"table1_{dataset}.json", **tiny).parser
    for net in NETWORKS:
        (tmp_path / net).mkdir()
        torch.save(first.get_parsed_content(f"{net}#network_def").state_dict(), tmp_path / net / "model.pt")
        for row in ROWS[1:-1]:
            (tmp_path / net / row).mkdir()
            shutil.copy(tmp_path / net / "model.pt", tmp_path / net / row / "model.pt")
    section = {"synapse": "validation", "acdc": "test"}[dataset]
    made = table2(
        f"table1_{dataset}.json",
        f"{TABLE}.json",
        f"{TABLE}_{dataset}.json",
        **tiny,
        datalist=f"$monai_vafa.data.{dataset}_datalist(@dataset_dir)['{section}'][:1]",
        segmentation_metrics=DSC_ALONE,
        visibility_metrics={},
        **{f"attacks#{name}#steps": 1 for name in ("bim", "pgd", "vafa", "pfa")},
        **{f"attacks#{name}#block_size": 8 for name in ("vafa", "quantize_only")},
    )
    finish(made)
    assert list(read_json(tmp_path / "out" / "benchmark.json")["hardened"]) == [
        f"{net}_{row}" for net in NETWORKS for row in ROWS
    ]
    page = (tmp_path / "out" / "index.html").read_text()
    published = {"synapse": ("66.33", "78.19"), "acdc": ("73.05", "91.23")}[dataset]
    assert all(number in page for number in published)
    q_max, eps = {"synapse": (20, 4), "acdc": (10, 2)}[dataset]
    attacks = made.parser.get_parsed_content("rows").build()
    assert (attacks["vafa"].q_max, attacks["pgd"].eps, attacks["gn"].sigma, attacks["pfa"].rmse) == (
        q_max,
        eps,
        eps,
        eps,
    )
