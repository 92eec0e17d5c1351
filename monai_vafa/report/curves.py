# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The figure of damage at equal visibility."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_vafa.results.files import write_file

from .benchmark import CONTROLS
from .equal_visibility import MEASURES

__all__ = ["equal_visibility_figure"]

_DPI = 120
_GRAY = 7  # of tab10: kept for controls
_MARKERS = "osD^vP*X<>hp"
# one after the other when the colours are used up
_LINES = ("-", "--", "-.")
_TICKS = {
    "lpips": (100, 99.8, 99, 98, 95, 90, 80, 70, 60, 40, 20, 0),
    "ssim": (1, 0.998, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.2, 0),
}


def equal_visibility_figure(path: Path, points: Sequence[dict[str, Any]], clean: dict[str, float | None]) -> bool:
    """
    Draw DSC against likeness: a row of panels per model, a line per attack, more visible to the right.

    The likeness axis is stretched near the clean image (square root of the distance), where the attacks lie.

    Args:
        path: PNG file to write.
        points: what :func:`~monai_vafa.report.equal_visibility.curve_points` gave, of all models.
        clean: model -> DSC without attack, in [0, 1]; models without points are left out.

    Returns:
        whether there was something to draw.

    Raises:
        ModuleNotFoundError: When matplotlib is missing.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measures = [column for column in MEASURES if any(p[column] is not None for p in points)]
    models = [model for model in clean if any(p["model"] == model for p in points)]
    attacks = list(dict.fromkeys(p["attack"] for p in points))
    if not measures or not models:
        return False
    tab10 = colormaps["tab10"]
    colors = [tab10(i) for i in range(tab10.N) if i != _GRAY]
    styles: dict[str, dict[str, Any]] = {}
    for attack in attacks:
        turn, place = divmod(sum(a not in CONTROLS for a in styles), len(colors))
        look = {"color": "0.5", "linestyle": ":"} if attack in CONTROLS else {"color": colors[place]}
        styles[attack] = {
            **{"marker": _MARKERS[len(styles) % len(_MARKERS)], "markersize": 5, "linewidth": 1.4},
            **{"linestyle": _LINES[turn % len(_LINES)], **look},
        }

    size = (4.6 * len(measures) + 1.8, 3.4 * len(models) + 0.4)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(models), len(measures), squeeze=False)
    for row, model in zip(axes, models, strict=True):
        for axis, column in zip(row, measures, strict=True):
            _panel(axis, column, model, [p for p in points if p["model"] == model], clean[model], styles)
    handles = {label: h for a in axes.flat for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    order = [label for label in (*attacks, "clean") if label in handles]
    figure.legend([handles[label] for label in order], order, loc="outside right upper", fontsize=9, frameon=False)
    write_file(path, lambda partial: figure.savefig(partial, format="png"))
    return True


def _panel(
    axis: Any,
    column: str,
    model: str,
    points: Sequence[dict[str, Any]],
    clean: float | None,
    styles: dict[str, dict[str, Any]],
) -> None:
    header, likeness, _ = MEASURES[column]
    top = _TICKS[column][0]
    ends = []
    for attack, style in styles.items():
        own = [p for p in points if p["attack"] == attack and p[column] is not None]
        curve = [(likeness(p[column]), 100 * p["dsc"]) for p in own]
        if curve:
            axis.plot(*zip(*curve, strict=True), label=attack, **style)
            ends.append(min(x for x, _ in curve))
    if not ends:
        axis.set_axis_off()
        return
    if clean is not None:
        axis.axhline(100 * clean, color="black", linestyle="--", linewidth=1, label="clean")
    # square root of the distance; a scale has to rise, the limits then turn it round
    axis.set_xscale(
        "function",
        functions=(lambda x: -np.sqrt(np.clip(top - x, 0, None)), lambda u: top - np.square(np.minimum(u, 0))),
    )
    # further right, only one attack would be left
    end = top - 1.1 * max(top - sorted(ends)[:2][-1], 0.01 * top)
    axis.set_xlim(top, end)
    ticks = _spaced([tick for tick in _TICKS[column] if tick >= end], top, end)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.tick_params(labelsize=8)
    axis.set_ylim(bottom=_floor([100 * p["dsc"] for p in points]))
    axis.grid(alpha=0.25)
    axis.set_title(model, fontsize=10)
    axis.set_xlabel(f"{header}   (more visible to the right)")
    axis.set_ylabel("DSC in percent")


def _floor(values: Sequence[float]) -> float:
    """The multiple of ten below all values, with some room."""
    return max(10 * math.floor((min(values) - 2) / 10), 0)


def _spaced(ticks: Sequence[float], top: float, end: float) -> list[float]:
    """Those that leave room for each other's numbers, on the stretched axis."""
    kept = [ticks[0]]
    for tick in ticks[1:]:
        gap = math.sqrt(top - tick) - math.sqrt(top - kept[-1])
        if gap >= 0.08 * math.sqrt(top - end):
            kept.append(tick)
    return kept
