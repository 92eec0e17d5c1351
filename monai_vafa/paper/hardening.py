# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Models hardened against one attack each, under all attacks: Table 2 of the paper, with its numbers beside ours."""

from __future__ import annotations

from monai_vafa.report.benchmark import CLEAN, Benchmark, mean
from monai_vafa.report.table import Table, cell
from monai_vafa.report.worst_case import worst_case_means, worst_case_rows

from .published import CONDITIONS, TABLE_2, TABLE_2_BUDGETS

__all__ = ["change_table", "hardening_table"]

_WORST = "worst case"  # the group of attacks that makes the last column
_LABELS = ["", "trained against"]


def hardening_table(benchmark: Benchmark) -> Table:
    """
    Mean DSC in percent: a row per hardened model, a column for clean images and each base attack.

    Last comes the group of attacks named "worst case", if the benchmark has it. A published number stands beside a
    column whose attack has the paper's budget.

    Args:
        benchmark: what was read; ``hardened`` names the models.
    """
    columns = _columns(benchmark)
    known = {column: {m: _published(benchmark, m, column) for m in benchmark.hardened} for column in columns}
    beside = [column for column in columns if set(known[column].values()) != {"-"}]
    header = [name for c in columns for name in (c, *([f"published {c}"] if c in beside else []))]
    rows = [[*_LABELS, *header]]
    for model, labels in benchmark.hardened.items():
        worst = worst_case_means(worst_case_rows(benchmark, model)).get(_WORST, {}).get("dsc")
        cells = []
        for column in columns:
            value = worst if column == _WORST else benchmark.value(model, column, "dsc")
            cells += [cell("dsc", value), *([known[column][model]] if column in beside else [])]
        if not benchmark.means(model):
            cells[0] = "no results"
        rows.append([*labels, *cells])
    notes = _uneven(benchmark)
    if _WORST in columns:
        notes.append(f"{_WORST}: for each case the lowest DSC under {', '.join(benchmark.worst_cases[_WORST])}.")
    if beside:
        notes.append(CONDITIONS[f"table 2, {benchmark.published}"])
    return Table("DSC of hardened models", rows, notes, labels=2)


def change_table(benchmark: Benchmark) -> Table:
    """
    What hardening changes: DSC of each hardened model less that of the same network trained on clean images.

    Differences are taken case by case, over the cases that both models have, and then averaged.

    Args:
        benchmark: what was read; ``hardened`` names the models.

    Returns:
        in points of percent, a row per model that was not trained on clean images, columns as in
        :func:`hardening_table`.
    """
    columns = _columns(benchmark)
    references = {network: model for model, (network, against) in benchmark.hardened.items() if against == CLEAN}
    rows, lonely, notes = [[*_LABELS, *columns]], {}, []
    for model, (network, against) in benchmark.hardened.items():
        if against == CLEAN:
            continue
        if network not in references:
            lonely[network] = f"{network}: no model trained on clean images to compare with."
        cells, partly = [], False
        for column in columns:
            ours = _case_scores(benchmark, model, column)
            theirs = _case_scores(benchmark, references[network], column) if network in references else {}
            differences = [ours[case] - theirs[case] for case in ours if case in theirs]
            partly |= 0 < len(differences) < max(len(ours), len(theirs))
            cells.append(_points(mean(differences)))
        if not benchmark.means(model):
            cells[0] = "no results"
        rows.append([network, against, *cells])
        notes += [f"{network}, {against}: over the cases that both models have."] if partly else []
    return Table(
        "Change against the model trained on clean images, in points of DSC",
        rows,
        [*lonely.values(), *notes],
        labels=2,
    )


def _columns(benchmark: Benchmark) -> list[str]:
    return [CLEAN, *benchmark.attacks, *([_WORST] if _WORST in benchmark.worst_cases else [])]


def _published(benchmark: Benchmark, model: str, column: str) -> str:
    network, against = benchmark.hardened[model]
    data = benchmark.published or ""
    dsc = TABLE_2.get(data, {}).get(network, {}).get(against, {}).get(column)
    if dsc is None:
        return "-"
    if column != CLEAN and all(benchmark.base_value(column, p) != v for p, v in TABLE_2_BUDGETS[data].items()):
        return "-"
    return f"{dsc:.1f}" if against == CLEAN else f"{dsc:.2f}"  # as many digits as Table 1 and Table 2 have


def _case_scores(benchmark: Benchmark, model: str, column: str) -> dict[str, float]:
    """DSC of each case in a column of the tables."""
    if column != _WORST:
        return benchmark.case_values(model, column, "dsc")
    return {row["case"]: row["dsc"] for row in worst_case_rows(benchmark, model) if row["group"] == _WORST}


def _uneven(benchmark: Benchmark) -> list[str]:
    """Which models lack cases that others have, so that their means do not compare."""
    cases = {m: benchmark.case_values(m, CLEAN, "dsc").keys() for m in benchmark.hardened if benchmark.means(m)}
    every: set[str] = set().union(*cases.values())
    return [
        f"{', '.join(benchmark.hardened[model])}: mean over {len(own)} of the {len(every)} cases that models here have."
        for model, own in cases.items()
        if len(own) < len(every)
    ]


def _points(change: float | None) -> str:
    # adding zero makes -0.0 a zero without sign
    return "-" if change is None else f"{round(100 * change, 2) + 0.0:+.2f}"
