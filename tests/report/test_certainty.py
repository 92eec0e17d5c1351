# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv

import numpy as np
import pytest

from monai_vafa.report.certainty import certainty_section
from monai_vafa.report.tables import damage_table, table_text
from monai_vafa.results.statistics import run_statistics


def statistics(drops, count=12, seed=0):
    """Of a run in which each attack takes a drop from DSCs that vary by case."""
    clean = np.random.default_rng(seed).uniform(0.7, 0.9, count)
    cases = [
        {"case": f"c{i}", "attack": attack, "dsc": f"{value - drop * (1 + i / 100)}"}
        for attack, drop in {"clean": 0, **drops}.items()
        for i, value in enumerate(clean)
    ]
    return run_statistics(cases, [], tested=list(drops), background=None, threshold=0.5)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_table_and_files_of_a_run(tmp_path):
    made = statistics({"weak": 0.01, "strong": 0.4})
    [table] = certainty_section(tmp_path, {"": made}).tables
    text = table_text(table)
    assert "below 50" in text
    assert "Fewer than" not in text
    assert "All pairs of rows differ significantly" in text
    rows = {row[0]: row for row in table.rows}
    assert rows["clean"][2] == "-"
    assert rows["strong"][2].startswith("42.20 ± ")
    assert rows["strong"][3] == "100 %"
    written = {row["attack"]: row for row in read(tmp_path / "statistics.csv")}
    assert float(written["strong"]["drop_low"]) < 0.422 < float(written["strong"]["drop_high"])
    pairs = read(tmp_path / "comparisons.csv")
    assert [(pair["first"], pair["second"]) for pair in pairs] == [
        ("clean", "weak"),
        ("clean", "strong"),
        ("weak", "strong"),
    ]


def test_what_is_not_significant_is_named(tmp_path):
    made = statistics({"nothing": 0.0, "strong": 0.4})
    text = table_text(certainty_section(tmp_path, {"": made}).tables[0])
    assert "All pairs of rows differ significantly" in text
    assert text.rstrip().endswith("but for clean and nothing.")


def test_few_cases_are_called_so(tmp_path):
    made = statistics({"strong": 0.4}, count=3)
    text = table_text(certainty_section(tmp_path, {"": made}).tables[0])
    assert "Fewer than 10 cases: such intervals and tests mean little." in text
    assert "No two rows differ significantly" in text


def test_models_are_tested_against_each_other(tmp_path):
    scores = {
        "pgd": {"a": {f"c{i}": 0.5 + i / 1000 for i in range(20)}, "b": {f"c{i}": 0.6 + i / 900 for i in range(20)}},
        "gn": {"a": {f"c{i}": 0.5 for i in range(20)}, "b": {f"c{i}": 0.5 for i in range(20)}},
    }
    made = statistics({"pgd": 0.1})
    *_, between = certainty_section(tmp_path, {"a": made, "b": made}, scores).tables
    assert between.title == "Between models"
    pgd, gn = between.rows[1:]
    assert pgd[:3] == ["pgd", "a", "b"]
    assert float(pgd[3]) == pytest.approx(-10.1, abs=0.1)
    assert "not significant" not in pgd[4]
    assert gn[4] == "1, not significant"
    assert [row["attack"] for row in read(tmp_path / "comparisons.csv") if not row["model"]] == ["pgd", "gn"]


def test_one_model_is_tested_against_nobody(tmp_path):
    made = statistics({"pgd": 0.1})
    assert len(certainty_section(tmp_path, {"a": made}, {"pgd": {"a": {"c0": 0.5}}}).tables) == 1


def test_means_are_printed_with_half_of_their_interval():
    made = statistics({"strong": 0.4})
    low, high = made["rows"]["strong"]["intervals"]["dsc"]
    table = damage_table({"strong": {"dsc": 0.4}, "other": {"dsc": 0.4}}, "", (), made)
    assert table.rows[1][1] == f"40.00 ± {50 * (high - low):.1f}"
    assert table.rows[2][1] == "40.00"
