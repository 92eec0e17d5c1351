# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Damage at equal visibility: how far each attack brings the DSC down, at a given likeness to the clean image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from monai_vafa.results.schema import CLEAN, COLUMNS

from .benchmark import Benchmark
from .figures import new_figure, save_figure
from .tables import Table, cell

_KEYS = ("model", "attack", "parameter", "value")
_VALUES = ("dsc", "dsc_foreground", "lpips", "ssim", "rmse", "linf")
POINT_COLUMNS = (*_KEYS, *_VALUES)
LEVEL_COLUMNS = ("model", "attack", "measure", "level", "dsc", "lowest")


@dataclass(frozen=True)
class _Measure:
    """How like the clean image an attacked one is, read from a column of ``cases.csv``; higher = more alike."""

    likeness: Callable[[float], float]
    clean: float  # the column's value for the clean image
    levels: tuple[float, ...]  # columns of the table
    ticks: tuple[float, ...]  # of the figure, the first for the clean image


_TICKS = (100, 99.8, 99, 98, 95, 90, 80, 70, 60, 40, 20, 0)
_MEASURES = {
    "lpips": _Measure(lambda v: 100 * (1 - v), 0.0, (99.8, 99.5, 99.0, 98.0, 95.0), _TICKS),
    "ssim": _Measure(lambda v: v, 1.0, (0.99, 0.98, 0.95, 0.9, 0.8), tuple(tick / 100 for tick in _TICKS)),
}


def curve_points(benchmark: Benchmark, model: str) -> list[dict[str, Any]]:
    """
    Rows with ``POINT_COLUMNS`` for each attack that was swept over its budget, the base row among them.

    The huge budget of the checklist is left out: it is so far from all others that a line to it would say nothing.
    """
    roles = benchmark.checklist or {}
    huge = (roles.get("iterative"), roles.get("huge_budget"))
    points = []
    for attack in benchmark.attacks:
        budget = benchmark.budget(attack)
        swept = benchmark.sweep(attack, budget) if budget else []
        for value, row in swept if len(swept) > 1 else []:
            scores = {column: benchmark.value(model, row, column) for column in _VALUES}
            if scores["dsc"] is not None and (attack, value) != huge:
                points.append({**dict(zip(_KEYS, (model, attack, budget, value), strict=True)), **scores})
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


def equal_visibility_rows(benchmark: Benchmark, model: str) -> list[dict[str, Any]]:
    """Rows with ``LEVEL_COLUMNS``: DSC of each swept attack at fixed levels, and whether it is the lowest there."""
    clean = benchmark.value(model, CLEAN, "dsc")
    points = curve_points(benchmark, model)
    rows = []
    for column, measure in _MEASURES.items():
        start = [] if clean is None else [(measure.likeness(measure.clean), clean)]
        curves = {
            attack: [
                (measure.likeness(p[column]), p["dsc"]) for p in points if p["attack"] == attack and _has(p, column)
            ]
            for attack in dict.fromkeys(point["attack"] for point in points)
        }
        for level in measure.levels if any(curves.values()) else ():
            values = {attack: dsc_at([*start, *curve], level) for attack, curve in curves.items()}
            lowest = min((value for value in values.values() if value is not None), default=None)
            for attack, value in values.items():
                best = int(value is not None and value == lowest)
                cells = (model, attack, COLUMNS[column].header, level, value, best)
                rows.append(dict(zip(LEVEL_COLUMNS, cells, strict=True)))
    return rows


def equal_visibility_tables(model: str, rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Tables of :func:`equal_visibility_rows`: a row per attack, a column per level."""
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


def equal_visibility_figure(path: Path, points: Sequence[dict[str, Any]], clean: dict[str, float | None]) -> bool:
    """
    Draw DSC against likeness: a row of panels per model, a line per attack; returns whether there was anything to draw.

    The likeness axis is stretched near the clean image (square root of the distance), where the attacks lie.
    """
    measures = [column for column in _MEASURES if any(_has(p, column) for p in points)]
    models = [model for model in clean if any(p["model"] == model for p in points)]
    if not measures or not models:
        return False
    styles = _styles(list(dict.fromkeys(p["attack"] for p in points)))
    figure = new_figure(4.6 * len(measures) + 1.8, 3.4 * len(models) + 0.4)
    axes = figure.subplots(len(models), len(measures), squeeze=False)
    for row, model in zip(axes, models, strict=True):
        for axis, column in zip(row, measures, strict=True):
            _panel(axis, column, model, [p for p in points if p["model"] == model], clean[model], styles)
    handles = {label: h for a in axes.flat for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    order = [label for label in (*styles, CLEAN) if label in handles]
    figure.legend([handles[label] for label in order], order, loc="outside right upper", fontsize=9, frameon=False)
    save_figure(figure, path)
    return True


def _styles(attacks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each attack's line looks: as the roster says, or in a colour of its own if its name is not there."""
    from monai_vafa.attacks.roster import ROSTER

    styles = {}
    for i, name in enumerate(attacks):
        entry = ROSTER.get(name)
        look = (f"C{i % 10}", "o", "-.") if entry is None else (entry.color, entry.marker, entry.linestyle)
        styles[name] = dict(zip(("color", "marker", "linestyle"), look, strict=True))
    return styles


def _panel(
    axis: Any,
    column: str,
    model: str,
    points: Sequence[Mapping[str, Any]],
    clean: float | None,
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    measure = _MEASURES[column]
    top = measure.ticks[0]
    ends = []
    for attack, style in styles.items():
        own = [p for p in points if p["attack"] == attack and _has(p, column)]
        curve = [(measure.likeness(p[column]), 100 * p["dsc"]) for p in own]
        if curve:
            axis.plot(*zip(*curve, strict=True), label=attack, markersize=5, linewidth=1.4, **style)
            ends.append(min(x for x, _ in curve))
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
    ticks = _spaced([tick for tick in measure.ticks if tick >= end], top, end)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.tick_params(labelsize=8)
    # the multiple of ten below all values, with some room
    axis.set_ylim(bottom=max(10 * math.floor((100 * min(p["dsc"] for p in points) - 2) / 10), 0))
    axis.grid(alpha=0.25)
    axis.set_title(model, fontsize=10)
    axis.set_xlabel(f"{COLUMNS[column].header}   (more visible to the right)")
    axis.set_ylabel("DSC in percent")


def _spaced(ticks: Sequence[float], top: float, end: float) -> list[float]:
    """The ticks whose numbers don't overlap on the stretched axis."""
    kept = [ticks[0]]
    for tick in ticks[1:]:
        gap = math.sqrt(top - tick) - math.sqrt(top - kept[-1])
        if gap >= 0.08 * math.sqrt(top - end):
            kept.append(tick)
    return kept


def _has(point: Mapping[str, Any], column: str) -> bool:
    return point[column] is not None
