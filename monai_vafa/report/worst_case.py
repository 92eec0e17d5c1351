# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The worst of several attacks, chosen for each case by itself."""

from __future__ import annotations

from typing import Any

from monai_vafa.results.files import number

from .benchmark import Benchmark, mean
from .table import COLUMNS

__all__ = ["worst_case_means", "worst_case_rows"]


def worst_case_rows(benchmark: Benchmark, model: str) -> list[dict[str, Any]]:
    """
    Of each group of attacks, the one with the lowest DSC on each case.

    An attacker who may try several attacks keeps the best one for each image, so this is lower than the mean of any
    one attack of the group.

    Args:
        benchmark: what was read; ``worst_cases`` holds the groups.
        model: name of the model.

    Returns:
        a row per group and case: model, group, case, attack (the one chosen), and its columns of ``cases.csv``;
        cases without a DSC under any attack of the group are left out.
    """
    chosen = []
    for group, attacks in benchmark.worst_cases.items():
        scored = [row for row in benchmark.cases[model] if row["attack"] in attacks and row.get("dsc")]
        for case in dict.fromkeys(row["case"] for row in scored):
            lowest = min((row for row in scored if row["case"] == case), key=lambda row: float(row["dsc"]))
            values = {column: number(lowest.get(column)) for column in COLUMNS if column in lowest}
            chosen.append({"model": model, "group": group, "case": case, "attack": lowest["attack"], **values})
    return chosen


def worst_case_means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """
    Mean over the cases of each group.

    Args:
        rows: what :func:`worst_case_rows` gave for one model.

    Returns:
        group -> column -> mean.
    """
    groups = dict.fromkeys(row["group"] for row in rows)
    members = {group: [row for row in rows if row["group"] == group] for group in groups}
    return {
        group: {c: mean([row[c] for row in chosen]) for c in COLUMNS if c in chosen[0]}
        for group, chosen in members.items()
    }
