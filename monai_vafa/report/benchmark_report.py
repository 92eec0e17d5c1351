# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Report on the result folder of a robustness benchmark."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from monai_vafa.results.files import write_json, write_rows, write_text

from .benchmark import CLEAN, Benchmark
from .benchmark_page import benchmark_page
from .checklist import check_roles, referee_checklist
from .curves import equal_visibility_figure
from .equal_visibility import POINT_COLUMNS, curve_points, equal_visibility_rows, equal_visibility_tables
from .evidence import Line
from .figures import case_figures
from .table import COLUMNS, UNITS, Table, class_table, damage_table, table_text
from .transfer import transfer_tables
from .worst_case import worst_case_means, worst_case_rows

__all__ = ["write_benchmark_report"]

logger = logging.getLogger(__name__)

_WORST_COLUMNS = ("model", "group", "case", "attack", "dsc", "dsc_foreground", "lpips", "ssim")
_LEVEL_COLUMNS = ("model", "attack", "measure", "level", "dsc", "lowest")


def write_benchmark_report(folder: str | os.PathLike) -> None:
    """
    Write tables, figures, checklist and page of a benchmark, and log the tables.

    Everything comes from the result files, so it can be written again at any time, also for a benchmark that failed
    in part: what is missing is said. Figures need matplotlib; without it a warning says so and the rest stands.

    Files, in the folder: ``table.csv`` (a row per model and attack), ``worst_case.csv`` (per group and case, the
    attack with the lowest DSC), ``equal_visibility.csv`` (points of the budget curves),
    ``dsc_at_equal_visibility.csv``, ``checklist.json`` (when the benchmark has one), ``figures/equal_visibility.png``,
    ``figures/hardening_CASE.png`` (when it says which models were hardened), ``MODEL/figures/CASE.png``,
    ``index.html``. Units are those of ``cases.csv``.

    Args:
        folder: result folder of a benchmark.

    Raises:
        FileNotFoundError: When there is no ``benchmark.json``.
        ValueError: When a role of the checklist or a group of worst cases names an unknown row.
    """
    from monai_vafa.paper.hardening import change_table, hardening_table
    from monai_vafa.paper.tables import budget_table, sweep_tables

    benchmark = Benchmark(folder)
    check_roles(benchmark.checklist or {}, benchmark.rows)
    root, models = benchmark.folder, benchmark.models

    worst = {model: worst_case_rows(benchmark, model) for model in models}
    means = {model: {**benchmark.means(model), **worst_case_means(worst[model])} for model in models}
    points = {model: curve_points(benchmark, model) for model in models}
    levels = {model: equal_visibility_rows(benchmark, model) for model in models}
    lines = None
    if benchmark.checklist is not None:
        lines = {model: referee_checklist(benchmark, model) for model in models}
        write_json(root / "checklist.json", lines)
    scores = [{"model": model, "attack": row, **means[model][row]} for model in models for row in means[model]]
    present = [column for column in COLUMNS if any(column in row for row in scores)]
    write_rows(root / "table.csv", ("model", "attack", *present), scores)
    write_rows(root / "worst_case.csv", _WORST_COLUMNS, _joined(worst))
    write_rows(root / "equal_visibility.csv", POINT_COLUMNS, _joined(points))
    write_rows(root / "dsc_at_equal_visibility.csv", _LEVEL_COLUMNS, _joined(levels))

    tables = {
        "Damage and visibility": [_model_table(benchmark, model, means[model]) for model in models],
        "In the layout of the paper": [budget_table(benchmark), *sweep_tables(benchmark)],
        "Hardened models": [hardening_table(benchmark), change_table(benchmark)] if benchmark.hardened else [],
        "Damage at equal visibility": [t for model in models for t in equal_visibility_tables(model, levels[model])],
        "Transfer": transfer_tables(benchmark),
        "Checklist": [] if lines is None else [_checklist_table(model, lines[model]) for model in models],
        "Each class": [class_table(benchmark.means(model), model) for model in models if benchmark.means(model)],
    }
    pictures, drawn = _figures(benchmark, _joined(points))
    write_text(root / "index.html", benchmark_page(benchmark, tables, pictures, drawn))
    groups = {title.upper(): list(map(table_text, group)) for title, group in tables.items() if group}
    text = "\n\n".join(part for title, group in groups.items() for part in (title, *group))
    logger.info("\n\n%s\n\n%s\n%s\n\nReport: %s\n", text, UNITS, benchmark.description, root / "index.html")


def _joined(rows: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for of_model in rows.values() for row in of_model]


def _model_table(benchmark: Benchmark, model: str, means: Mapping[str, Mapping[str, Any]]) -> Table:
    notes = benchmark.notes(model)
    if not means:
        return Table(model, [["no results"]], notes)
    table = damage_table(means, model)
    lowest = [
        f"{group}: for each case the lowest DSC under {', '.join(benchmark.worst_cases[group])}."
        for group in benchmark.worst_cases
        if group in means
    ]
    return Table(model, table.rows, [*lowest, *notes])


def _checklist_table(model: str, lines: list[Line]) -> Table:
    return Table(model, [["check", "verdict", "reason"], *(list(line.values()) for line in lines)], labels=3)


def _figures(benchmark: Benchmark, points: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Heading -> path of its figure, and the cases drawn for each model; nothing without matplotlib."""
    curves = "figures/equal_visibility.png"
    clean = {model: benchmark.value(model, CLEAN, "dsc") for model in benchmark.models}
    pictures = {}
    try:
        if equal_visibility_figure(benchmark.folder / curves, points, clean):
            pictures["Damage at equal visibility"] = curves
        if (hardening := hardening_figure(benchmark)) is not None:
            pictures["Hardened models"] = hardening.relative_to(benchmark.folder).as_posix()
        drawn = {
            model: case_figures(benchmark.folder / model, benchmark.summaries[model], list(means))
            for model in benchmark.models
            if (means := benchmark.means(model))
        }
    except ModuleNotFoundError as error:
        logger.warning("no figures: %s; pip install matplotlib", error)
        return {}, {}
    return pictures, drawn
