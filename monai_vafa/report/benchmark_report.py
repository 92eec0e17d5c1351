# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Report on the result folder of a robustness benchmark."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from monai_vafa.results.files import write_json, write_rows, write_text
from monai_vafa.results.schema import BENCHMARK, CLEAN, RUN_FILES, TRANSFER, UNITS

from .benchmark import Benchmark, mean
from .checklist import Line, check_roles, referee_checklist
from .figures import can_draw, case_figures
from .html import definitions, document, heading, image, paragraph, tables_html, unfold
from .tables import Table, cell, class_table, damage_table, score_columns, table_text
from .visibility import (
    LEVEL_COLUMNS,
    POINT_COLUMNS,
    curve_points,
    equal_visibility_figure,
    equal_visibility_rows,
    equal_visibility_tables,
)

logger = logging.getLogger(__name__)

_WORST_COLUMNS = ("model", "group", "case", "attack", "dsc", "dsc_foreground", "lpips", "ssim")
_FILES = {
    "table.csv": "means of each model and attack, and of the worst cases",
    "worst_case.csv": "for each group and case, the attack with the lowest DSC",
    "equal_visibility.csv": "every point of the budget curves",
    "dsc_at_equal_visibility.csv": "DSC of each attack at fixed levels of likeness",
    TRANSFER: "attacks made on one model and shown to another",
    "checklist.json": "the checklist below, for programs to read",
    BENCHMARK: "rows and groups of this benchmark",
}


@dataclass(frozen=True)
class Section:
    """
    A part of the report.

    Args:
        title: its heading; a section without tables and figure is left out.
        tables: what the log and the page show.
        draw: writes a figure for the top of the section and returns its path, ``None`` if there is nothing to draw.
        note: what the page says below the figure.
    """

    title: str
    tables: Sequence[Table]
    draw: Callable[[], Path | None] | None = None
    note: str = ""


def write_benchmark_report(folder: str | os.PathLike, sections: Iterable[Callable[[Benchmark], Section]] = ()) -> None:
    """
    Write tables, figures, checklist and page of a benchmark, and log the tables.

    Everything comes from the result files, so the report can be written again at any time, also for a benchmark of
    which a part failed: it says what is missing. Figures need matplotlib; without it a warning says so and the rest is
    written.

    Files, in the folder: ``table.csv`` (a row per model and attack), ``worst_case.csv`` (per group and case, the
    attack with the lowest DSC), ``equal_visibility.csv`` (points of the budget curves),
    ``dsc_at_equal_visibility.csv``, ``checklist.json`` (if the benchmark has one), ``figures/equal_visibility.png``,
    ``MODEL/figures/CASE.png``, ``index.html``. Units are those of ``cases.csv``.

    Args:
        folder: result folder of a benchmark.
        sections: more sections, shown after the first table; each is made from the benchmark that was read.

    Raises:
        FileNotFoundError: If there is no ``benchmark.json``.
        ValueError: If a role of the checklist or a group of worst cases names an unknown row.
    """
    benchmark = Benchmark(folder)
    check_roles(benchmark.checklist or {}, benchmark.rows)
    root, models = benchmark.folder, benchmark.models

    means = {model: {**benchmark.means(model), **benchmark.worst_means(model)} for model in models}
    points = [point for model in models for point in curve_points(benchmark, model)]
    levels = {model: equal_visibility_rows(benchmark, model) for model in models}
    worst = [row for model in models for row in benchmark.worst_rows(model)]
    lines = None if benchmark.checklist is None else {model: referee_checklist(benchmark, model) for model in models}
    scores = [{"model": model, "attack": row, **means[model][row]} for model in models for row in means[model]]
    write_rows(root / "table.csv", ("model", "attack", *score_columns(scores)), scores)
    write_rows(root / "worst_case.csv", _WORST_COLUMNS, worst)
    write_rows(root / "equal_visibility.csv", POINT_COLUMNS, points)
    write_rows(root / "dsc_at_equal_visibility.csv", LEVEL_COLUMNS, [row for model in models for row in levels[model]])
    if lines is not None:
        write_json(root / "checklist.json", lines)

    with_results = [model for model in models if benchmark.means(model)]
    shown = [
        Section("Damage and visibility", [_model_table(benchmark, model, means[model]) for model in models]),
        *(section(benchmark) for section in sections),
        Section(
            "Damage at equal visibility",
            [table for model in models for table in equal_visibility_tables(model, levels[model])],
            partial(_draw_curves, benchmark, points),
            "The axis ends where only one attack would be left; points beyond it are in equal_visibility.csv.",
        ),
        Section("Transfer", transfer_tables(benchmark)),
        Section("Checklist", [_checklist_table(model, found) for model, found in (lines or {}).items()]),
        Section("Each class", [class_table(benchmark.means(model), model) for model in with_results]),
    ]
    figures, drawn = _figures(benchmark, shown)
    write_text(root / "index.html", _page(benchmark, shown, figures, drawn))
    texts = [text for s in shown if s.tables for text in (s.title.upper(), *map(table_text, s.tables))]
    report = "\n\n".join(texts)
    logger.info("\n\n%s\n\n%s\n%s\n\nReport: %s\n", report, UNITS, benchmark.description, root / "index.html")


def transfer_tables(benchmark: Benchmark) -> list[Table]:
    """DSC of each target under each attack made on each source; no table if nothing was transferred."""
    if not benchmark.transfers:
        return []
    rows = [["attack", "made on", *(f"DSC of {model}" for model in benchmark.models)]]
    cases = list(dict.fromkeys(row["case"] for row in benchmark.transfers))
    own = partial(benchmark.white_box, cases=cases)
    rows.append([CLEAN, "-", *(cell("dsc", own(model, CLEAN)) + " " for model in benchmark.models)])
    for attack in dict.fromkeys(row["attack"] for row in benchmark.transfers if row["attack"] != CLEAN):
        for source in benchmark.models:
            line = []
            for target in benchmark.models:
                if source == target:
                    line.append(cell("dsc", own(target, attack)) + "*")
                else:
                    scores = benchmark.transferred(source, target, attack)
                    line.append(cell("dsc", mean(list(scores.values()))) + " ")
            rows.append([attack, source, *line])
    notes = ["DSC in percent, mean over the transferred cases. * white box: made on this very model."]
    return [Table("", rows, notes, labels=2)]


def _model_table(benchmark: Benchmark, model: str, means: Mapping[str, Mapping[str, Any]]) -> Table:
    notes = benchmark.notes(model)
    if not means:
        return Table(model, [["no results"]], notes)
    lowest = [
        f"{group}: for each case the lowest DSC under {', '.join(benchmark.worst_cases[group])}."
        for group in benchmark.worst_cases
        if group in means
    ]
    return Table(model, damage_table(means, model).rows, [*lowest, *notes])


def _checklist_table(model: str, lines: Sequence[Line]) -> Table:
    return Table(model, [["check", "verdict", "reason"], *(list(line.values()) for line in lines)], labels=3)


def _draw_curves(benchmark: Benchmark, points: Sequence[dict[str, Any]]) -> Path | None:
    path = benchmark.folder / "figures" / "equal_visibility.png"
    clean = {model: benchmark.value(model, CLEAN, "dsc") for model in benchmark.models}
    return path if equal_visibility_figure(path, points, clean) else None


def _figures(benchmark: Benchmark, sections: Iterable[Section]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Title of a section -> path of its figure, and the cases drawn for each model; nothing without matplotlib."""
    if not can_draw():
        return {}, {}
    paths = {section.title: section.draw() for section in sections if section.draw is not None}
    drawn = {
        model: case_figures(benchmark.folder / model, benchmark.summaries[model], list(means))
        for model in benchmark.models
        if (means := benchmark.means(model))
    }
    return {t: path.relative_to(benchmark.folder).as_posix() for t, path in paths.items() if path is not None}, drawn


def _page(
    benchmark: Benchmark,
    sections: Iterable[Section],
    figures: Mapping[str, str],
    drawn: Mapping[str, Sequence[str]],
) -> str:
    problems = (
        [] if benchmark.status == "complete" else [f"This benchmark is not complete (status: {benchmark.status})."]
    )
    for model, summary in benchmark.summaries.items():
        if not benchmark.means(model):
            problems.append(f"{model} has no results.")
        elif summary["status"] != "complete":
            problems.append(f"{model} is not complete (status: {summary['status']}).")
    parts: list[str] = []
    for section in sections:
        if section.title in figures:
            picture = image(figures[section.title], section.title)
            parts += [heading(section.title), picture, paragraph(section.note, "note"), tables_html(section.tables)]
        elif section.tables:
            parts += [heading(section.title), tables_html(section.tables)]
    cases = [
        unfold(f"{model}: {case}", [image(f"{model}/figures/{case}.png", f"{model}, {case}")])
        for model, names in drawn.items()
        for case in names
    ]
    files = {name: text for name, text in _FILES.items() if (benchmark.folder / name).is_file()}
    return document(
        f"Robustness of {', '.join(benchmark.models)}",
        [
            paragraph(benchmark.description, "demo"),
            paragraph(" ".join(problems), "warning"),
            *parts,
            paragraph(UNITS, "note"),
            heading("Cases"),
            *(cases or [paragraph("There are no figures; they need matplotlib and volumes of finished cases.")]),
            heading("Threat models"),
            definitions(benchmark.threat_models()),
            heading("Files"),
            definitions({**files, **{f"MODEL/{name}": text for name, text in RUN_FILES.items()}}),
        ],
    )
