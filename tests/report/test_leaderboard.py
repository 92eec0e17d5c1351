# SPDX-License-Identifier: Apache-2.0
"""A model enters the leaderboard if its results pass every rule; folders are those of real benchmarks."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric
from monai.transforms import Compose, LoadImaged, ScaleIntensityRange, ScaleIntensityRanged

from monai_vafa import __main__ as command_line
from monai_vafa.attacks import ROSTER
from monai_vafa.evaluation import AttackRows, Benchmark
from monai_vafa.report import leaderboard as module
from monai_vafa.report.leaderboard import RULES, leaderboard
from monai_vafa.results.folder import ResultFolder, rows_digest
from tests.evaluation.conftest import TinyTarget

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(resources.files("monai_vafa.report").joinpath("leaderboard.schema.json").read_text())
SMALL = {name: ROSTER[name] for name in ("quantize_only", "gn", "fgsm", "pgd", "square", "vafa")}
ROLES = {
    "iterative": "pgd",
    "single_step": "fgsm",
    "gradient_free": "square",
    "noise": "gn",
    "quantize": "quantize_only",
    "frequency": "vafa",
    "huge_budget": 128,
}
SWEEPS = {"pgd": {"eps": [128], "steps": [40], "seed": [1]}}
KEYS = ("image", "label")


class Spots(torch.nn.Module):
    """Finds a cube that is 9 levels brighter than its noisy surroundings."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(1, 2, 3, padding=1)
        with torch.no_grad():
            self.conv.weight[0], self.conv.weight[1] = 0, 20 / 27
            self.conv.bias[:] = torch.tensor([0.0, -20 * 114.5 / 255])

    def forward(self, image):
        return self.conv(image)


class Masked(Spots):
    """As good, but without a gradient."""

    def forward(self, image):
        return self.conv(torch.round(image * 255) / 255)


class Random(Spots):
    def forward(self, image):
        return self.conv(image) + 0.01 * torch.randn(1)


class Optimises(Spots):
    def forward(self, image):
        with torch.enable_grad():
            moved = image.detach().requires_grad_()
            torch.autograd.grad(self.conv(moved).logsumexp(1).sum(), moved)
        return self.conv(image)


def cases(folder, demo=False):
    rng, items = np.random.default_rng(0), []
    for i in range(2):
        label = np.zeros((16, 16, 16), np.uint8)
        label[2:14, 2:14, 2:14] = 1
        image = rng.normal(110, 3, label.shape) + 9 * label
        files = {key: folder / key / f"{'demo_' if demo else 'case'}{i}.nii.gz" for key in KEYS}
        for key, voxels in (("image", image.astype(np.float32)), ("label", label)):
            files[key].parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), files[key])
        items.append({key: str(path) for key, path in files.items()})
    return items


def benchmark(folder, networks, attacks=tuple(SMALL), *, weights=True, items=None, **changes):
    """Run a benchmark of tiny networks, name -> network."""
    items = items or cases(folder / "data")
    transform = [LoadImaged(KEYS, ensure_channel_first=True), ScaleIntensityRanged("image", 0, 255, 0, 1, clip=True)]
    targets = {}
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}.pt")
        targets[name] = TinyTarget(
            network=network,
            transform=Compose(transform),
            class_names=["background", "spot"],
            roi_size=16,
            window=(16, 16, 16),
            checkpoint=folder / f"{name}.pt" if weights else None,
            to_file_units=ScaleIntensityRange(0, 1, 0, 255),
            description="finds spots",
        )
    settings = {"checklist": True, "checklist_roles": ROLES, "transfer": len(networks) > 1, "visibility_metrics": {}}
    Benchmark(
        targets=targets,
        cases=dict.fromkeys(networks, items),
        attacks=AttackRows(attacks, sweeps=changes.pop("sweeps", SWEEPS)),
        segmentation_metrics={"dsc": DiceMetric(reduction="none")},
        output_dir=folder / "results",
        **{**settings, **changes},
    ).run()
    return folder / "results"


@pytest.fixture(scope="session")
def passed(tmp_path_factory):
    """Results that break no rule but that of the whole roster."""
    return benchmark(tmp_path_factory.mktemp("passed"), {"spots": Spots()})


@pytest.fixture
def small(monkeypatch):
    """A roster that runs in a moment."""
    monkeypatch.setattr(module, "ROSTER", SMALL)


@pytest.fixture
def results(passed, tmp_path, small):
    """Such results, to be changed."""
    return shutil.copytree(passed, tmp_path / "results")


@pytest.fixture
def add(tmp_path):
    def call(results, model=None, **changes):
        return leaderboard(
            "add", results, model, **{"reference": "us, 2026", "output_dir": tmp_path / "board", **changes}
        )

    return call


@pytest.fixture
def refused(add, tmp_path):
    """Checks that a model is refused by a rule, that the message tells the way out, and that nothing is written."""

    def call(results, rule, where, **changes):
        with pytest.raises(ValueError, match=f"breaks the rule '{rule}': .*{where}") as caught:
            add(results, **changes)
        assert RULES[rule] in str(caught.value)
        assert not (tmp_path / "board").exists()

    return call


def entries(board):
    content = json.loads((board / "leaderboard.json").read_text())
    jsonschema.validate(content, SCHEMA)
    return content["entries"]


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def forge(folder, case, attack, **cells):
    """Change cells of cases.csv as if the run had written them: the manifest agrees."""
    with open(folder / "cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if (row["case"], row["attack"]) == (case, attack):
            row.update(cells)
    with open(folder / "cases.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, dict.fromkeys(column for row in rows for column in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, attacks in manifest["finished"].items():
        for each, record in attacks.items():
            own = [row for row in rows if (row["case"], row["attack"]) == (name, each)]
            record["cases.csv"] = rows_digest(own)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_whole_roster_on_a_model_enters(tmp_path, add):
    results = benchmark(tmp_path, {"spots": Spots()}, list(ROSTER))
    page = Path(add(results))
    (entry,) = entries(tmp_path / "board")
    assert set(entry["attacks"]) == set(ROSTER)
    assert (entry["model"], entry["description"], entry["reference"]) == ("spots", "finds spots", "us, 2026")
    assert (entry["data"]["cases"], entry["data"]["demo"]) == (2, False)
    with open(results / "spots" / "cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    ranked = [name for name in ROSTER if not ROSTER[name].control]
    dsc = {name: [float(row["dsc"]) for row in rows if row["attack"] == name] for name in (*ranked, "clean")}
    assert entry["clean"]["dsc"] == pytest.approx(np.mean(dsc["clean"]))
    assert entry["worst_case"]["dsc"] == pytest.approx(np.mean(np.min([dsc[name] for name in ranked], axis=0)))
    worst = min(ranked, key=lambda name: np.mean(dsc[name]))
    assert (entry["worst_attack"]["attack"], entry["worst_attack"]["dsc"]) == (
        worst,
        pytest.approx(np.mean(dsc[worst])),
    )
    for score in (entry["clean"], entry["worst_attack"], entry["worst_case"], *entry["attacks"].values()):
        low, high = score["interval"]
        assert low <= score["dsc"] <= high
    assert entry["attacks"]["pgd"]["budget"] == "eps" and entry["attacks"]["pgd"]["value"] == 4
    text = page.read_text()
    assert "white box" in text and "eps 4.0" in text and "Cases</h2>" not in text


def test_adding_again_changes_nothing_and_other_entries_stay(results, add, tmp_path):
    board = tmp_path / "board"
    add(results)
    before = {path.name: path.read_bytes() for path in board.iterdir()}
    add(results)
    assert {path.name: path.read_bytes() for path in board.iterdir()} == before
    other = Spots()
    with torch.no_grad():
        other.conv.bias[1] *= 0.995
    (tmp_path / "other").mkdir()
    add(benchmark(tmp_path / "other", {"spots": other}), reference="them, 2027")
    first, second = entries(board)
    assert {first["reference"], second["reference"]} == {"us, 2026", "them, 2027"}
    assert first["worst_case"]["dsc"] > second["worst_case"]["dsc"]
    assert first["weights_sha256"] != second["weights_sha256"]
    assert (first["data"], first["setting"]) == (second["data"], second["setting"])
    add(results, reference="corrected")
    assert {entry["reference"] for entry in entries(board)} == {"corrected", "them, 2027"}
    rows = re.findall(r'<tr><td class="name">(\d)</td><td class="name">spots</td>', (board / "index.html").read_text())
    assert rows == ["1", "2"]


def test_demo_data_and_other_data_are_ranked_apart(results, add, tmp_path):
    items = cases(tmp_path / "demo", demo=True)
    nib.save(nib.Nifti1Image(nib.load(items[0]["image"]).get_fdata() + 0.5, np.eye(4)), items[0]["image"])
    (tmp_path / "other").mkdir()
    add(results)
    add(benchmark(tmp_path / "other", {"spots": Spots()}, items=items))
    demo = [entry["data"]["demo"] for entry in entries(tmp_path / "board")]
    assert sorted(demo) == [False, True]
    page = (tmp_path / "board" / "index.html").read_text()
    assert page.count("is demo data: its ranks show") == 1 and page.count(", demo data</h2>") == 1


def test_two_models_are_asked_for_transfer(small, add, refused, tmp_path):
    results = benchmark(tmp_path, {"spots": Spots(), "other": Spots()})
    add(results)
    assert {entry["model"] for entry in entries(tmp_path / "board")} == {"spots", "other"}
    shutil.rmtree(tmp_path / "board")
    (results / "transfer.csv").unlink()
    refused(results, "checklist", "white box beats transfer: not applicable", model="other")


def test_a_run_that_did_not_end(results, refused):
    edit(results / "benchmark.json", status="interrupted")
    refused(results, "complete", r"benchmark\.json has status 'interrupted'")


def test_a_model_whose_run_failed(results, refused):
    edit(results / "spots" / "summary.json", status="failed", failed={"case0": "OSError"})
    refused(results, "complete", r"spots/summary\.json has status 'failed'")


def test_a_model_without_results(results, refused):
    shutil.rmtree(results / "spots")
    refused(results, "complete", r"spots/summary\.json has status None")


def test_cases_without_label(results, refused):
    edit(results / "spots" / "summary.json", unlabelled=1)
    refused(results, "complete", r"1 cases of spots/summary\.json have no label")


@pytest.mark.parametrize("change", ["edited", "removed", "volume"])
def test_rows_that_are_not_those_of_the_run(results, refused, change):
    cells = results / "spots" / "cases.csv"
    lines = cells.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("case1,pgd,"))
    if change == "edited":
        lines[row] = lines[row].replace(lines[row].split(",")[2], "0.99")
    elif change == "removed":
        del lines[row]
    else:
        (results / "spots" / "adversarial" / "case1_pgd.nii.gz").write_bytes(b"")
    cells.write_text("\n".join(lines) + "\n")
    refused(results, "complete", "no undamaged row with a DSC for case1 under pgd")


def test_unknown_weights(small, refused, tmp_path):
    refused(benchmark(tmp_path, {"spots": Spots()}, weights=False), "known weights and data", "hash of the weights")


def test_unknown_data(results, refused):
    edit(results / "spots" / "manifest.json", inputs={})
    refused(results, "known weights and data", r"spots/manifest\.json lacks hashes of case0")


def test_an_attack_of_the_roster_did_not_run(results, refused, monkeypatch):
    monkeypatch.setattr(module, "ROSTER", {**SMALL, "pfa": ROSTER["pfa"]})
    refused(results, "whole roster", "pfa did not run")


def test_an_attack_was_weakened(small, refused, tmp_path):
    attacks = {**{name: {} for name in SMALL}, "vafa": {"steps": 2}}
    results = benchmark(tmp_path, {"spots": Spots()}, attacks)
    refused(results, "whole roster", "vafa in spots/summary.json has steps: 20, now 2")


def test_an_attack_is_another_under_the_name(small, refused, tmp_path):
    attacks = {**{name: {} for name in SMALL}, "pgd": {"attack": "bim"}}
    results = benchmark(tmp_path, {"spots": Spots()}, attacks)
    refused(
        results, "whole roster", "pgd in spots/summary.json has class: ProjectedGradientDescent, now BasicIterative"
    )


def test_the_form_for_slices_is_the_same_attack():
    facts = {"class": "SliceFrequencyAttack"}
    assert module._expected(ROSTER["vafa"], facts)["class"] == "SliceFrequencyAttack"
    assert module._expected(ROSTER["vafa2d"], {"class": "VolumetricFrequencyAttack"})["steps"] == 10
    assert module._expected(ROSTER["cospgd"], {"class": "ProjectedGradientDescent"})["class"] == "CosPGD"


def test_masked_gradients(small, refused, tmp_path):
    refused(benchmark(tmp_path, {"spots": Masked()}), "gradients", r"zero_gradient in spots/cases\.csv is")


def test_broken_gradients(results, refused):
    forge(results / "spots", "case0", "pgd", nonfinite_gradient="0.001")
    refused(results, "gradients", r"nonfinite_gradient in spots/cases\.csv is")


def test_an_attack_that_has_won_needs_no_gradient(results, add):
    forge(results / "spots", "case0", "pgd", zero_gradient="1", dsc="0.1")
    add(results)


def test_a_random_forward_pass(small, refused, tmp_path):
    torch.manual_seed(0)
    refused(benchmark(tmp_path, {"spots": Random()}), "deterministic", "unstable_logits of case0 in spots/cases.csv is")


def test_an_optimisation_inside(small, refused, tmp_path):
    refused(benchmark(tmp_path, {"spots": Optimises()}), "no optimisation inside", "inner_gradients of case0 .* is 1")


def test_results_of_before_the_check_of_the_forward_pass(results, refused):
    forge(results / "spots", "case0", "clean", unstable_logits="")
    refused(results, "deterministic", "unstable_logits of case0 in spots/cases.csv is missing")


def test_no_checklist(small, refused, tmp_path):
    results = benchmark(tmp_path, {"spots": Spots()}, checklist=False)
    refused(results, "checklist", "iterative beats single step: not applicable, name a row for the role 'iterative'")


def test_a_check_that_lacks_evidence(small, refused, tmp_path):
    results = benchmark(tmp_path, {"spots": Spots()}, sweeps={"pgd": {"eps": [128], "seed": [1]}})
    refused(results, "checklist", "doubling the steps changes nothing more: not applicable")


def test_a_failed_check(results, refused):
    summary = json.loads((results / "spots" / "summary.json").read_text())
    summary["means"]["square"]["dsc"] = 0.1
    edit(results / "spots" / "summary.json", means=summary["means"])
    refused(results, "checklist", "white box beats gradient-free: fail, .*gradients may be masked")


@pytest.fixture
def claim(tmp_path, results, add):
    """Write a claim, of the measured numbers but for what is changed."""
    add(results, output_dir=tmp_path / "measured")
    (entry,) = entries(tmp_path / "measured")

    def write(**changes):
        claimed = {name: 100 * entry[name]["dsc"] for name in ("worst_case", "worst_attack", "clean")}
        content = {"schema_version": 1, "model": "spots", "data": "spots of noise", "reference": "authors, 2026"}
        content = {**content, "claimed": claimed, **changes}
        (tmp_path / "claim.json").write_text(json.dumps(content))
        return tmp_path / "claim.json"

    return write


def test_a_claim_that_holds(claim, results, add, tmp_path):
    path = claim()
    jsonschema.validate(json.loads(path.read_text()), {**SCHEMA, **SCHEMA["$defs"]["claim"]})
    add(results, reference=None, claim=path)
    (entry,) = entries(tmp_path / "board")
    assert (entry["reference"], entry["data"]["name"]) == ("authors, 2026", "spots of noise")


@pytest.mark.parametrize("value", [99.0, float("nan")])
def test_a_claim_that_does_not_hold(claim, results, refused, value):
    refused(
        results, "claims hold", f"worst_case is {value:g} by the claim and ", claim=claim(claimed={"worst_case": value})
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claimed": {}}, "must be a JSON file like"),
        ({"extra": 1}, "must be a JSON file like"),
        ({"schema_version": 2}, "must be a JSON file like"),
        ({"model": 3}, "must be a JSON file like"),
        ({"claimed": {"worst": 3}}, r"claimed\['worst'\] .* must be a DSC in percent"),
        ({"claimed": {"clean": "97"}}, r"claimed\['clean'\] .* must be a DSC in percent"),
        ({"model": "other"}, "model='other' is none of those of the benchmark: spots"),
    ],
)
def test_a_claim_that_is_none(claim, results, add, changes, message):
    with pytest.raises(ValueError, match=message):
        add(results, claim=claim(**changes))


def test_the_template_is_a_claim():
    jsonschema.validate(
        module._read_claim(ROOT / "docs" / "leaderboard_claim.json"), {**SCHEMA, **SCHEMA["$defs"]["claim"]}
    )


def test_a_leaderboard_of_another_version_is_kept(results, add, tmp_path):
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "leaderboard.json").write_text('{"schema_version": 2, "entries": []}')
    with pytest.raises(ValueError, match="must have schema_version 1: choose another output_dir"):
        add(results)
    assert (tmp_path / "board" / "leaderboard.json").read_text() == '{"schema_version": 2, "entries": []}'


def test_what_can_not_work_is_refused(add, results, tmp_path):
    with pytest.raises(ValueError, match="action='remove' must be 'add'"):
        leaderboard("remove", results, reference="us")
    with pytest.raises(ValueError, match="reference='' must say who submits what"):
        add(results, reference=None)
    with pytest.raises(FileNotFoundError, match="not the folder of a benchmark"):
        add(tmp_path / "nothing")
    (results / "spots" / "summary.json").write_text("{}}")
    with pytest.raises(ValueError, match=r"summary\.json' is damaged"):
        add(results)


def test_by_command(results, tmp_path, monkeypatch, capsys):
    words = ["leaderboard", "add", results, "--reference", "2026", "--output_dir", tmp_path / "board"]
    monkeypatch.setattr(sys, "argv", ["monai_vafa", *map(str, words)])
    command_line.main()
    assert capsys.readouterr().out.endswith("board/index.html\n")
    assert entries(tmp_path / "board")[0]["reference"] == "2026"


def test_another_run_has_the_leaderboard(results, add, tmp_path):
    add(results)
    with (
        ResultFolder(tmp_path / "board", {"attacks": {}, "cases": {}}).locked(),
        pytest.raises(ValueError, match="in use"),
    ):
        add(results)
