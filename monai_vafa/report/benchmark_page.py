# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The HTML page of a robustness benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .benchmark import Benchmark
from .page import definitions, document, heading, image, paragraph, tables_html, unfold
from .report import RUN_FILES
from .table import UNITS, Table

__all__ = ["benchmark_page"]

_FILES = {
    "table.csv": "means of each model and attack, and of the worst cases",
    "worst_case.csv": "for each group and case, the attack with the lowest DSC",
    "equal_visibility.csv": "every point of the budget curves",
    "dsc_at_equal_visibility.csv": "DSC of each attack at fixed levels of likeness",
    "transfer.csv": "attacks made on one model and shown to another",
    "checklist.json": "the checklist below, to be read by programs",
    "benchmark.json": "rows, budgets and groups of this benchmark",
}
# heading -> what stands below its figure
_FIGURE_NOTES = {
    "Damage at equal visibility": "The axis ends where only one attack would be left; points beyond it are in "
    "equal_visibility.csv.",
    "Hardened models": "Attacked images of the first case, each with what the model that was attacked says of it, and "
    "the DSC of that case. Of many attacks the strongest are shown, of many models those of one network.",
}


def benchmark_page(
    benchmark: Benchmark,
    tables: Mapping[str, Sequence[Table]],
    pictures: Mapping[str, str],
    drawn: Mapping[str, Sequence[str]],
) -> str:
    """
    The page.

    Args:
        benchmark: what was read.
        tables: heading -> tables, in the order of the page; headings without tables are left out.
        pictures: heading -> path of the figure that was drawn for it, relative to the page, shown above its tables.
        drawn: model -> cases that have a figure.

    Returns:
        HTML.
    """
    problems = (
        [] if benchmark.status == "complete" else [f"This benchmark is not complete (status: {benchmark.status})."]
    )
    for model, summary in benchmark.summaries.items():
        if not benchmark.means(model):
            problems.append(f"{model} has no results.")
        elif summary["status"] != "complete":
            problems.append(f"{model} is not complete (status: {summary['status']}).")
    sections: list[str] = []
    for title, group in tables.items():
        picture = ""
        if title in pictures:
            picture = image(pictures[title], title) + paragraph(_FIGURE_NOTES[title], "note")
        if group or picture:
            sections += [heading(title), picture, tables_html(group)]
    figures = [
        unfold(f"{model}: {case}", [image(f"{model}/figures/{case}.png", f"{model}, {case}")])
        for model, cases in drawn.items()
        for case in cases
    ]
    files = {name: text for name, text in _FILES.items() if (benchmark.folder / name).is_file()}
    return document(
        f"Robustness of {', '.join(benchmark.models)}",
        [
            paragraph(benchmark.description, "demo"),
            paragraph(" ".join(problems), "warning"),
            *sections,
            paragraph(UNITS, "note"),
            heading("Cases"),
            *(figures or [paragraph("There are no figures; they need matplotlib and volumes of finished cases.")]),
            heading("Threat models"),
            definitions(benchmark.threat_models()),
            heading("Files"),
            definitions({**files, **{f"MODEL/{name}": text for name, text in RUN_FILES.items()}}),
        ],
    )
