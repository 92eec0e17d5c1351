# SPDX-License-Identifier: Apache-2.0
"""Damage at equal visibility: how far each attack brings the DSC down, at a given likeness to the clean image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from monai_vafa.results.files import write_rows
from monai_vafa.results.schema import CLEAN, COLUMNS

from .benchmark import HUGE_BUDGET, Benchmark
from .figures import new_figure, save_figure
from .tables import Section, Table, cell

_MEASURES = [name for name, column in COLUMNS.items() if column.levels]  # of likeness
_SCORES = ("dsc", "dsc_foreground", *_MEASURES, "rmse", "linf")
_LEVEL_COLUMNS = ("model", "attack", "measure", "level", "dsc", "lowest")
_JUDGE_COLUMNS = ("model", "first", "second", "tau", "points")
_JUDGES_NOTE = (
    "Kendall's tau over the points of the curves: 1 if two measures order them alike, 0 if the orders are unrelated. "
    "SSIM is in the loss of vafa and sa2, LPIPS chose the weights of pfa; no attack optimises HaarPSI or GMSD."
)
_TICKS = (100, 99.8, 99, 98, 95, 90, 80, 70, 60, 40, 20, 0)  # of the figure, in percent of the clean image


def visibility_section(benchmark: Benchmark) -> Section:
    """Curves and tables of all models; writes their CSV files."""
    points = curve_points(benchmark)
    rows, judges = equal_visibility_rows(benchmark, points), agreement_rows(points)
    write_rows(benchmark.folder / "equal_visibility.csv", ("model", "attack", "parameter", "value", *_SCORES), points)
    write_rows(benchmark.folder / "dsc_at_equal_visibility.csv", _LEVEL_COLUMNS, rows)
    write_rows(benchmark.folder / "judges.csv", _JUDGE_COLUMNS, judges)
    tables = equal_visibility_tables(rows)
    if judges:
        cells = [[j["model"], j["first"], j["second"], f"{j['tau']:.2f}", str(j["points"])] for j in judges]
        tables.append(Table("How far the judges agree", [list(_JUDGE_COLUMNS), *cells], [_JUDGES_NOTE], labels=3))
    return Section(
        "Damage at equal visibility",
        tables,
        partial(_draw, benchmark, points),
        "The axis ends where only one attack would be left; points beyond it are in equal_visibility.csv.",
    )


def curve_points(benchmark: Benchmark) -> list[dict[str, Any]]:
    """
    Rows of ``equal_visibility.csv`` for each attack that was swept over its budget, the base row among them.

    The huge budget of the checklist is left out: it is so far from all others that a line to it would say nothing.
    """
    roles = benchmark.checklist or {}
    huge = (roles.get("iterative"), roles.get(HUGE_BUDGET))
    points = []
    for model, attack in product(benchmark.models, benchmark.attacks):
        budget = benchmark.budget(attack)
        swept = benchmark.sweep(attack, budget)
        for value, row in swept if len(swept) > 1 else []:
            scores = {column: benchmark.value(model, row, column) for column in _SCORES}
            if scores["dsc"] is not None and (attack, value) != huge:
                points.append({"model": model, "attack": attack, "parameter": budget, "value": value, **scores})
    return points


def dsc_at(curve: Sequence[tuple[float, float]], level: float) -> float | None:
    """
    DSC at a level of likeness, on a curve of ``(likeness, dsc)`` by increasing budget; ``None`` outside its range.

    Linear between neighbouring points. If likeness does not fall steadily along the curve, several segments can reach
    the level, and the lowest DSC counts.
    """
    found = []
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 == level == x1:
            found.append(min(y0, y1))
        elif min(x0, x1) <= level <= max(x0, x1):
            share = (level - x0) / (x1 - x0)
            found.append((1 - share) * y0 + share * y1)
    return min(found, default=None)


def equal_visibility_rows(benchmark: Benchmark, points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ``dsc_at_equal_visibility.csv``: DSC of swept attacks at fixed levels, and whether it is the lowest."""
    rows = []
    for model, column in product(benchmark.models, _MEASURES):
        top, *levels = COLUMNS[column].levels
        clean = benchmark.value(model, CLEAN, "dsc")
        start = [] if clean is None else [(top, clean)]
        curves = _curves([point for point in points if point["model"] == model], column)
        for level in levels if any(curves.values()) else ():
            values = {attack: dsc_at([*start, *curve], level) for attack, curve in curves.items()}
            lowest = min((value for value in values.values() if value is not None), default=None)
            for attack, value in values.items():
                best = int(value is not None and value == lowest)
                cells = (model, attack, COLUMNS[column].header, level, value, best)
                rows.append(dict(zip(_LEVEL_COLUMNS, cells, strict=True)))
    return rows


def _curves(points: Sequence[dict[str, Any]], column: str) -> dict[str, list[tuple[float, float]]]:
    """``(likeness, dsc)`` of each attack, where it was measured."""
    curves: dict[str, list[tuple[float, float]]] = {point["attack"]: [] for point in points}
    for point in points:
        if point[column] is not None:
            curves[point["attack"]].append((COLUMNS[column].printed(point[column]), point["dsc"]))
    return curves


def equal_visibility_tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Tables of :func:`equal_visibility_rows`, per model and measure: a row per attack, a column per level."""
    tables: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        lines = tables.setdefault(f"{row['model']}: DSC at equal {row['measure']}", {"": []})
        if (level := f"{row['level']:g}") not in lines[""]:
            lines[""].append(level)
        lines.setdefault(row["attack"], []).append(cell("dsc", row["dsc"]) + ("*" if row["lowest"] else " "))
    notes = ["* the lowest of its column; - outside the attack's range. Linear between its points."]
    return [Table(title, [[name, *row] for name, row in lines.items()], notes) for title, lines in tables.items()]


def agreement_rows(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ``judges.csv``: Kendall's tau between two measures over the points of a model's curves, if defined."""
    rows = []
    for model, pair in product(dict.fromkeys(point["model"] for point in points), combinations(_MEASURES, 2)):
        first, second = (COLUMNS[column] for column in pair)
        own = [[point[column] for column in pair] for point in points if point["model"] == model]
        judged = [(first.printed(a), second.printed(b)) for a, b in own if a is not None and b is not None]
        tau = float(kendalltau(*np.transpose(judged)).statistic) if len(judged) > 1 else math.nan
        if not math.isnan(tau):  # a measure that is the same everywhere orders nothing
            cells = (model, first.header, second.header, tau, len(judged))
            rows.append(dict(zip(_JUDGE_COLUMNS, cells, strict=True)))
    return rows


def _draw(benchmark: Benchmark, points: Sequence[dict[str, Any]]) -> Path | None:
    """
    Draw DSC against likeness: a row of panels per model, a line per attack; ``None`` if there is nothing to draw.

    The likeness axis is stretched near the clean image (square root of the distance), where the attacks lie.
    """
    from monai_vafa.attacks.roster import ROSTER

    measures = [column for column in _MEASURES if any(point[column] is not None for point in points)]
    models = list(dict.fromkeys(point["model"] for point in points))
    if not measures:
        return None
    styles = {}
    for i, attack in enumerate(dict.fromkeys(point["attack"] for point in points)):
        entry = ROSTER.get(attack)
        look = (f"C{i}", "o", "-.") if entry is None else (entry.color, entry.marker, entry.linestyle)
        styles[attack] = dict(zip(("color", "marker", "linestyle"), look, strict=True))
    figure = new_figure(4 * len(measures) + 1.8, 3.4 * len(models) + 0.4)
    axes = figure.subplots(len(models), len(measures), squeeze=False)
    for row, model in zip(axes, models, strict=True):
        own = [point for point in points if point["model"] == model]
        for axis, column in zip(row, measures, strict=True):
            _panel(axis, column, own, benchmark.value(model, CLEAN, "dsc"), styles)
    handles = {label: h for a in axes.flat for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    order = [label for label in (*styles, CLEAN) if label in handles]
    figure.legend([handles[label] for label in order], order, loc="outside right upper", fontsize=9, frameon=False)
    return save_figure(figure, benchmark.folder / "figures" / "equal_visibility.png")


def _panel(
    axis: Any, column: str, points: Sequence[dict[str, Any]], clean: float | None, styles: Mapping[str, dict[str, Any]]
) -> None:
    top = COLUMNS[column].levels[0]
    curves = _curves(points, column)
    ends = []
    for attack, style in styles.items():
        if curve := curves.get(attack):
            likeness, dsc = np.transpose(curve)
            axis.plot(likeness, 100 * dsc, label=attack, markersize=5, linewidth=1.4, **style)
            ends.append(likeness.min())
    if not ends:
        axis.set_axis_off()
        return
    if clean is not None:
        axis.axhline(100 * clean, color="black", linestyle="--", linewidth=1, label=CLEAN)
    # square root of the distance; a scale must increase, so the limits reverse it
    axis.set_xscale(
        "function",
        functions=(lambda x: -np.sqrt(np.clip(top - x, 0, None)), lambda u: top - np.square(np.minimum(u, 0))),
    )
    # further right, only one attack would be left
    end = top - 1.1 * max(top - sorted(ends)[:2][-1], 0.01 * top)
    axis.set_xlim(top, end)
    ticks: list[float] = []
    for tick in (top * share / 100 for share in _TICKS):  # those whose numbers don't overlap
        gap = math.sqrt(top - tick) - math.sqrt(top - ticks[-1]) if ticks else math.inf
        if tick >= end and gap >= 0.08 * math.sqrt(top - end):
            ticks.append(tick)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.tick_params(labelsize=8)
    # the multiple of ten below all values, with some room
    axis.set_ylim(bottom=max(10 * math.floor((100 * min(p["dsc"] for p in points) - 2) / 10), 0))
    axis.grid(alpha=0.25)
    axis.set_title(points[0]["model"], fontsize=10)
    axis.set_xlabel(f"{COLUMNS[column].header}   (more visible to the right)")
    axis.set_ylabel("DSC in percent")
