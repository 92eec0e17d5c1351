# SPDX-License-Identifier: Apache-2.0
"""Small result folders with known numbers."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np

CASES = ("c1", "c2")
CLASSES = ("background", "tumour")


def write_volumes(folder, case, names):
    """Images, predictions and labels of one case, as a run leaves them."""
    rng = np.random.default_rng(0)
    for kind, stored in (("adversarial", names), ("predictions", (*names, "label"))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name in stored:
            volume = rng.random((12, 14, 6)) if kind == "adversarial" else rng.integers(0, 2, (12, 14, 6))
            nib.save(nib.Nifti1Image(volume.astype(np.float32), np.eye(4)), folder / kind / f"{case}_{name}.nii.gz")


def write_csv(path, rows):
    with open(path, "w", newline="") as file:
        columns = dict.fromkeys(column for row in rows for column in row)
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def described(row, parameters=None, budget=None, control=False):
    """What ``summary.json`` says of a row."""
    attack = row.partition("-")[0]
    facts = {"class": attack.upper(), "threat_model": f"who may do {row}", "control": control, "budget": budget}
    return {**facts, "parameters": parameters or {}, "value": (parameters or {}).get(budget), "base": attack}


def write_model(folder, scores, attacks=None, **facts):
    """
    Result folder of one model.

    ``scores`` is row -> column -> a value for all cases, or one for each; ``None`` leaves the cell empty.
    """
    folder.mkdir(parents=True)
    cases, metrics, means = [], [], {}
    for row, columns in scores.items():
        values = {c: v if isinstance(v, (list, tuple)) else [v] * len(CASES) for c, v in columns.items()}
        for i, case in enumerate(CASES):
            cases.append({"case": case, "attack": row, **{c: v[i] for c, v in values.items()}})
            metrics += [{"case": case, "attack": row, "class": name, "dsc": values["dsc"][i]} for name in CLASSES]
        mean = {c: None if None in v else sum(v) / len(v) for c, v in values.items()}
        means[row] = {**mean, "classes": {name: {"dsc": mean["dsc"], "hd95": None} for name in CLASSES}}
    write_csv(folder / "cases.csv", cases)
    write_csv(folder / "metrics.csv", metrics)
    summary = {
        "status": "complete",
        "description": "made up",
        "class_names": list(CLASSES),
        "attacks": attacks or {row: described(row) for row in scores if row != "clean"},
        "unmeasured": [],
        "cases": {case: f"/data/{case}.nii.gz" for case in CASES},
        "failed": {},
        "means": means,
        **facts,
    }
    (folder / "summary.json").write_text(json.dumps(summary))


def write_benchmark(folder, models, base=None, transfer=(), budgets=None, controls=(), **facts):
    """
    Result folder of a benchmark, from model -> row -> column -> value; a model without rows has failed.

    Rows are named ATTACK or ATTACK-PARAMETER=VALUE; ``base`` holds the base rows' parameters, ``budgets`` the
    parameter that bounds each attack, ``controls`` the names of those that never look at the network.
    """
    rows = {}
    for name in dict.fromkeys(row for scores in models.values() for row in scores if row != "clean"):
        attack, _, change = name.partition("-")
        parameter, _, value = change.partition("=")
        rows[name] = {"attack": attack, "parameter": parameter or None, "value": float(value) if value else None}
    base, budgets = base or {}, budgets or {}
    attacks = {
        name: described(name, base.get(row["attack"]), budgets.get(row["attack"]), row["attack"] in controls)
        for name, row in rows.items()
    }
    for model, scores in models.items():
        if scores:
            write_model(folder / model, scores, attacks)
    if transfer:
        write_csv(folder / "transfer.csv", list(transfer))
    content = {
        "status": "complete",
        "description": "made up",
        "models": list(models),
        "rows": rows,
        "worst_cases": {},
        "checklist": None,
        "published": None,
        **facts,
    }
    (folder / "benchmark.json").write_text(json.dumps(content))
    return folder


def table_row(text, *start):
    """Cells after ``start`` of the first line that begins with these words."""
    lines = [line.split() for line in text.splitlines()]
    return next(line[len(start) :] for line in lines if line[: len(start)] == list(start))


CLEAN = {"dsc": 0.9, "hd95": 2.0, "lpips": 0.0, "ssim": 1.0}


def attacked(dsc, lpips=0.01, ssim=0.97):
    """Scores of a row."""
    return {"dsc": dsc, "hd95": 20.0, "lpips": lpips, "ssim": ssim}


# rows of a model whose two attacks were swept
ROWS = {
    "clean": CLEAN,
    "pgd": attacked([0.5, 0.4]),
    "vafa": attacked([0.3, 0.6], lpips=0.03),
    "pgd-eps=8": attacked(0.2, lpips=0.05),
    "vafa-q_max=30": attacked(0.25, lpips=0.04),
    "vafa-q_max=25": attacked(0.3, lpips=0.035),
    "vafa-steps=10": attacked(0.6),
}
BASE = {"pgd": {"eps": 4.0}, "vafa": {"q_max": 20, "steps": 20}}
BUDGETS = {"pgd": "eps", "vafa": "q_max"}
