# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Damage at equal visibility: how far each attack brings the DSC down, at a given likeness to the clean image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .benchmark import CLEAN, Benchmark
from .table import Table, cell

__all__ = ["MEASURES", "POINT_COLUMNS", "curve_points", "dsc_at", "equal_visibility_rows", "equal_visibility_tables"]

_KEYS = ("model", "attack", "parameter", "value")
_VALUES = ("dsc", "dsc_foreground", "lpips", "ssim", "rmse", "linf")
POINT_COLUMNS = (*_KEYS, *_VALUES)
# column of cases.csv -> header, likeness from the value of that column, levels of likeness
MEASURES = {
    "lpips": ("100(1-LPIPS)", lambda v: 100 * (1 - v), (99.8, 99.5, 99.0, 98.0, 95.0)),
    "ssim": ("SSIM", lambda v: v, (0.99, 0.98, 0.95, 0.9, 0.8)),
}


def curve_points(benchmark: Benchmark, model: str) -> list[dict[str, Any]]:
    """
    Points of each budget curve, the base row among them.

    The huge budget of the checklist is left out: it is far from all others, and a line to it would tell nothing.

    Args:
        benchmark: what was read; its ``budgets`` say which attacks were swept.
        model: name of the model.

    Returns:
        a row with ``POINT_COLUMNS`` per attack and budget; rows without a DSC are left out.
    """
    points: list[dict[str, Any]] = [
        {
            **dict(zip(_KEYS, (model, attack, parameter, value), strict=True)),
            **{column: benchmark.value(model, row, column) for column in _VALUES},
        }
        for attack, parameter in benchmark.budgets.items()
        for value, row in benchmark.sweep(attack, parameter)
    ]
    roles = benchmark.checklist or {}
    huge = (roles.get("iterative"), roles.get("huge_budget"))
    return [point for point in points if point["dsc"] is not None and (point["attack"], point["value"]) != huge]


def dsc_at(curve: Sequence[tuple[float, float]], level: float) -> float | None:
    """
    DSC of an attack where its images are as like the clean ones as wanted.

    Linear between neighbouring points. Where likeness does not fall steadily along the curve, several pieces can
    reach the level, and the lowest DSC counts.

    Args:
        curve: points ``(likeness, dsc)`` by rising budget.
        level: likeness.

    Returns:
        ``None`` where no piece of the curve reaches the level: there is no extrapolation.
    """
    found = []
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 == level == x1:
            found.append(min(y0, y1))
        elif min(x0, x1) <= level <= max(x0, x1):
            share = (level - x0) / (x1 - x0)
            found.append((1 - share) * y0 + share * y1)
    return min(found, default=None)


def equal_visibility_rows(benchmark: Benchmark, model: str) -> list[dict[str, Any]]:
    """
    DSC of each swept attack at fixed levels of likeness, from its own points and the clean one.

    Args:
        benchmark: what was read.
        model: name of the model.

    Returns:
        rows with model, attack, measure, level, dsc (``None`` outside the attack's range) and lowest (1 on the lowest
        of a level, else 0); measures that no attack has are left out.
    """
    clean = benchmark.value(model, CLEAN, "dsc")
    points = curve_points(benchmark, model)
    rows: list[dict[str, Any]] = []
    for column, (measure, likeness, levels) in MEASURES.items():
        start = [] if clean is None else [(likeness(0.0 if column == "lpips" else 1.0), clean)]
        curves = {
            attack: [(likeness(p[column]), p["dsc"]) for p in points if p["attack"] == attack and p[column] is not None]
            for attack in dict.fromkeys(point["attack"] for point in points)
        }
        for level in levels if any(curves.values()) else ():
            values = {attack: dsc_at([*start, *curve], level) for attack, curve in curves.items()}
            lowest = min((value for value in values.values() if value is not None), default=None)
            for attack, value in values.items():
                best = int(value is not None and value == lowest)
                row = {"model": model, "attack": attack, "measure": measure, "level": level, "dsc": value}
                rows.append({**row, "lowest": best})
    return rows


def equal_visibility_tables(model: str, rows: Sequence[dict[str, Any]]) -> list[Table]:
    """
    The same as tables: a row per attack, a column per level.

    Args:
        model: name of the model.
        rows: what :func:`equal_visibility_rows` gave for it.
    """
    tables = []
    for measure in dict.fromkeys(row["measure"] for row in rows):
        here = [row for row in rows if row["measure"] == measure]
        levels = list(dict.fromkeys(row["level"] for row in here))
        body = [
            [attack, *(_marked(row) for row in here if row["attack"] == attack)]
            for attack in dict.fromkeys(row["attack"] for row in here)
        ]
        tables.append(
            Table(
                f"{model}: DSC at equal {measure}",
                [["", *(f"{level:g}" for level in levels)], *body],
                ["* the lowest of its column; - outside the attack's range. Linear between its points."],
            )
        )
    return tables


def _marked(row: dict[str, Any]) -> str:
    return cell("dsc", row["dsc"]) + ("*" if row["lowest"] else " ")
