# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_vafa.report import write_benchmark_report
from monai_vafa.report.benchmark import Benchmark
from monai_vafa.report.checklist import chance_dsc, referee_checklist

from .results import CASES, write_benchmark

ROLES = {
    "iterative": "pgd",
    "single_step": "fgsm",
    "gradient_free": "square",
    "noise": "gn",
    "quantize": "quantize_only",
    "frequency": "vafa",
    "huge_budget": 128,
}
BASE = {
    "pgd": {"eps": 4.0, "steps": 20, "seed": 0},
    "fgsm": {"eps": 4.0},
    "square": {"eps": 4.0},
    "gn": {"sigma": 4.0},
}
BUDGETS = {"pgd": "eps", "fgsm": "eps", "square": "eps", "gn": "sigma"}
SOUND = {
    "clean": 90,
    "pgd": 50,
    "fgsm": 60,
    "square": 65,
    "gn": 88,
    "quantize_only": 85,
    "vafa": 70,
    "pgd-eps=8": 40,
    "pgd-eps=128": 30,
    "pgd-steps=40": 49.5,
    "pgd-seed=1": 50.5,
}
ITERATIVE = "iterative beats single step"
STEPS = "doubling the steps changes nothing more"
GROWS = "success grows with the budget"
CHANCE = "a huge budget reaches chance"
NOISE = "more than noise that is no smaller"
QUANTIZE = "more than quantising alone"
TRANSFER = "white box beats transfer"
FREE = "white box beats gradient-free"
SEEDS = "several random starts agree"


def checklist(folder, scores, *, base=BASE, roles=ROLES, budgets=BUDGETS, sent=80.0, rmse=None):
    """Lines of the checklist of model m, by check, from row -> DSC in percent."""
    rmse = {"gn": 4.0, **(rmse or {})}
    rows = {
        name: {"dsc": None if dsc is None else dsc / 100, "rmse": rmse.get(name, 3.0)} for name, dsc in scores.items()
    }
    models = {"m": rows} if sent is None else {"m": rows, "other": rows}
    transfer = [
        {"case": case, "source": "other", "target": "m", "attack": "pgd", "dsc": sent / 100}
        for case in (CASES if sent is not None else ())
    ]
    write_benchmark(folder, models, base, transfer, budgets=budgets, checklist=roles)
    return {line["check"]: line for line in referee_checklist(Benchmark(folder), "m")}


def test_sound_attack_passes_every_check(tmp_path):
    lines = checklist(tmp_path, SOUND)
    assert {line["verdict"] for line in lines.values()} == {"pass"}
    assert list(lines) == [ITERATIVE, STEPS, GROWS, CHANCE, NOISE, QUANTIZE, TRANSFER, FREE, SEEDS]
    assert lines[ITERATIVE]["reason"] == "pgd reaches DSC 50.00, fgsm 60.00, both at eps 4."


@pytest.mark.parametrize(
    ("check", "changed", "verdict"),
    [
        (ITERATIVE, {"fgsm": 50}, "pass"),
        (ITERATIVE, {"fgsm": 49.9}, "fail"),
        (STEPS, {"pgd-steps=40": 49}, "pass"),
        (STEPS, {"pgd-steps=40": 48.9}, "fail"),
        (STEPS, {"pgd-steps=40": 51.1}, "fail"),
        (GROWS, {"pgd-eps=8": 50.5}, "pass"),
        (GROWS, {"pgd-eps=8": 50.6}, "fail"),
        (GROWS, {"pgd-eps=8": 50.4, "pgd-eps=128": 50.8}, "fail"),  # creeps up
        (CHANCE, {"pgd-eps=128": 50}, "pass"),  # two classes
        (CHANCE, {"pgd-eps=128": 50.1}, "fail"),
        (NOISE, {"gn": 50.1}, "pass"),
        (NOISE, {"gn": 50}, "fail"),
        (QUANTIZE, {"quantize_only": 70.1}, "pass"),
        (QUANTIZE, {"quantize_only": 70}, "fail"),
        (FREE, {"square": 49.5}, "pass"),
        (FREE, {"square": 49.4}, "fail"),
        (SEEDS, {"pgd-seed=1": 51}, "pass"),
        (SEEDS, {"pgd-seed=1": 51.1}, "fail"),
        (SEEDS, {"pgd-seed=1": 49.4, "pgd-seed=2": 50.5}, "fail"),
    ],
)
def test_verdict_turns_where_it_should(tmp_path, check, changed, verdict):
    assert checklist(tmp_path, {**SOUND, **changed})[check]["verdict"] == verdict


@pytest.mark.parametrize(("sent", "verdict"), [(49.5, "pass"), (49.4, "fail")])
def test_transfer_that_beats_white_box_fails(tmp_path, sent, verdict):
    assert checklist(tmp_path, SOUND, sent=sent)[TRANSFER]["verdict"] == verdict


def test_failing_reasons_say_what_to_doubt(tmp_path):
    lines = checklist(tmp_path, {**SOUND, "square": 30, "pgd-steps=40": 30}, sent=20)
    assert "gradients may be masked" in lines[FREE]["reason"]
    assert "gradients may be masked" in lines[TRANSFER]["reason"]
    assert "use more steps" in lines[STEPS]["reason"]


@pytest.mark.parametrize(
    ("check", "missing", "way"),
    [
        (STEPS, ["pgd-steps=40"], "sweep the steps of pgd"),
        (GROWS, ["pgd-eps=8", "pgd-eps=128"], "sweep the budget of pgd"),
        (CHANCE, ["pgd-eps=128"], "add 128 to the budgets"),
        (SEEDS, ["pgd-seed=1"], "sweep the seed of pgd"),
    ],
)
def test_missing_rows_make_a_check_not_applicable_and_say_how_to_get_them(tmp_path, check, missing, way):
    line = checklist(tmp_path, {name: dsc for name, dsc in SOUND.items() if name not in missing})[check]
    assert line["verdict"] == "not applicable" and way in line["reason"]


@pytest.mark.parametrize(
    ("check", "role"),
    [
        (ITERATIVE, "single_step"),
        (GROWS, "iterative"),
        (CHANCE, "huge_budget"),
        (NOISE, "noise"),
        (QUANTIZE, "quantize"),
        (QUANTIZE, "frequency"),
        (FREE, "gradient_free"),
    ],
)
def test_missing_roles_make_a_check_not_applicable(tmp_path, check, role):
    roles = {name: row for name, row in ROLES.items() if name != role}
    line = checklist(tmp_path, SOUND, roles=roles)[check]
    assert line["verdict"] == "not applicable" and role in line["reason"]


@pytest.mark.parametrize(("check", "other"), [(ITERATIVE, "fgsm"), (FREE, "square")])
def test_other_sizes_are_not_compared_unless_swept(tmp_path, check, other):
    base = {**BASE, other: {BUDGETS[other]: 8.0}}
    line = checklist(tmp_path / "a", SOUND, base=base)[check]
    assert line["verdict"] == "not applicable" and "give them the same" in line["reason"]
    line = checklist(tmp_path / "b", {**SOUND, f"{other}-{BUDGETS[other]}=4": 20}, base=base)[check]
    assert line["verdict"] == "fail"


def test_attack_without_a_known_budget_is_not_compared(tmp_path):
    checklist(tmp_path, SOUND, budgets={"pgd": "eps"})
    path = tmp_path / "m" / "summary.json"
    line = referee_checklist(Benchmark(tmp_path), "m")[0]
    assert line["verdict"] == "not applicable" and "budget of fgsm is not known" in line["reason"]
    summary = json.loads(path.read_text())
    summary["attacks"]["fgsm"]["budget"] = "eps"
    path.write_text(json.dumps(summary))
    assert referee_checklist(Benchmark(tmp_path), "m")[0]["verdict"] == "pass"


def test_noise_that_came_out_smaller_is_no_control(tmp_path):
    line = checklist(tmp_path, SOUND, rmse={"gn": 2.0})[NOISE]
    assert line["verdict"] == "not applicable" and "larger sigma" in line["reason"]


def test_noise_of_the_size_of_the_attack_is_found_in_its_sweep(tmp_path):
    scores = {**SOUND, "gn-sigma=8": 49, "gn-sigma=16": 10}
    rmse = {"gn": 2.0, "gn-sigma=8": 3.5, "gn-sigma=16": 9.0}
    line = checklist(tmp_path, scores, rmse=rmse)[NOISE]
    assert line["verdict"] == "fail" and "gn-sigma=8 49.00 at 3.50" in line["reason"]


def test_noise_that_is_smaller_and_does_more_still_fails_the_attack(tmp_path):
    assert checklist(tmp_path, {**SOUND, "gn": 40}, rmse={"gn": 2.0})[NOISE]["verdict"] == "fail"


def test_one_model_has_nothing_to_transfer(tmp_path):
    line = checklist(tmp_path, SOUND, sent=None)[TRANSFER]
    assert line["verdict"] == "not applicable" and "second model" in line["reason"]


def test_rows_without_a_score_are_not_judged(tmp_path):
    lines = checklist(tmp_path, {**SOUND, "pgd": None})
    assert lines[ITERATIVE]["verdict"] == lines[SEEDS]["verdict"] == "not applicable"
    assert lines[QUANTIZE]["verdict"] == "pass"


def test_chance_is_one_in_the_classes_that_have_a_score(tmp_path):
    checklist(tmp_path, SOUND)
    assert chance_dsc(Benchmark(tmp_path), "m") == 50
    metrics = tmp_path / "m" / "metrics.csv"
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join(line if ",tumour," not in line else line.rsplit(",", 1)[0] + "," for line in lines))
    assert chance_dsc(Benchmark(tmp_path), "m") == 100


def test_chance_of_sigmoid_classes_is_their_share_of_the_voxels(tmp_path):
    checklist(tmp_path, SOUND)
    shares, path = (0.032, 0.1), tmp_path / "m" / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "activation": "sigmoid"}))
    assert chance_dsc(Benchmark(tmp_path), "m") is None
    rng = np.random.default_rng(0)
    (tmp_path / "m" / "predictions").mkdir()
    dice = []
    for case, share in zip(CASES, shares, strict=True):
        # the second class is never there
        label = np.zeros((50, 50, 40, 2), np.uint8)
        label.reshape(-1, 2)[rng.permutation(100_000)[: int(share * 100_000)], 0] = 1
        nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / "m" / "predictions" / f"{case}_label.nii.gz")
        guesses = (rng.permutation(label[..., 0].ravel()) for _ in range(50))
        dice += [(guess & label[..., 0].ravel()).sum() / label.sum() for guess in guesses]
    assert chance_dsc(Benchmark(tmp_path), "m") == pytest.approx(100 * np.mean(shares))
    assert chance_dsc(Benchmark(tmp_path), "m") == pytest.approx(100 * np.mean(dice), rel=0.02)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"iterative": "nobody"}, r"checklist\['iterative'\] names 'nobody'"),
        ({"iterativ": "pgd"}, "role 'iterativ' is none of"),
    ],
)
def test_unknown_roles_and_rows_are_refused(tmp_path, roles, message):
    write_benchmark(tmp_path, {"m": {"clean": {"dsc": 0.9}, "pgd": {"dsc": 0.5}}}, checklist=roles)
    with pytest.raises(ValueError, match=message):
        write_benchmark_report(tmp_path)


def test_checklist_is_written_for_each_model(tmp_path):
    checklist(tmp_path, SOUND)
    write_benchmark_report(tmp_path)
    written = json.loads((tmp_path / "checklist.json").read_text())
    assert list(written) == ["m", "other"]
    assert set(written["m"][0]) == {"check", "verdict", "reason"}


def test_no_checklist_unless_wanted(tmp_path):
    write_benchmark(tmp_path, {"m": {"clean": {"dsc": 0.9}, "pgd": {"dsc": 0.5}}})
    write_benchmark_report(tmp_path)
    assert not (tmp_path / "checklist.json").exists()
    assert "Checklist" not in (tmp_path / "index.html").read_text()
