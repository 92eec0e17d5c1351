# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Means over the cases of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_vafa.results.folder import CASE_COLUMNS, METRIC_COLUMNS

__all__ = ["summarize"]


def summarize(
    cases: Sequence[Mapping[str, str]], metrics: Sequence[Mapping[str, str]], attacks: Sequence[str]
) -> dict[str, Any]:
    """
    Mean of every column over the cases, for each attack.

    Args:
        cases: rows of ``cases.csv``.
        metrics: rows of ``metrics.csv``.
        attacks: names of the attacks, in the order wanted.

    Returns:
        ``{attack: {column: mean, ..., "classes": {class: {column: mean}}}}``; ``None`` where no case has a value.
    """
    result: dict[str, Any] = {}
    for attack in attacks:
        rows = [row for row in cases if row["attack"] == attack]
        per_class = [row for row in metrics if row["attack"] == attack]
        if rows:
            classes = dict.fromkeys(row["class"] for row in per_class)
            result[attack] = {
                **_means(rows, CASE_COLUMNS),
                "classes": {c: _means([r for r in per_class if r["class"] == c], METRIC_COLUMNS) for c in classes},
            }
    return result


def _means(rows: Sequence[Mapping[str, str]], keys: Sequence[str]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for column in dict.fromkeys(key for row in rows for key in row if key not in keys):
        values = [float(row[column]) for row in rows if row.get(column)]
        means[column] = sum(values) / len(values) if values else None
    return means
