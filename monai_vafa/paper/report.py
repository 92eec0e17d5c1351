# SPDX-License-Identifier: Apache-2.0
"""The report of a benchmark with tables in the layout of the paper, and its numbers beside ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

from monai_vafa.report import Section, write_benchmark_report
from monai_vafa.report.benchmark import Benchmark
from monai_vafa.report.tables import Table, cell
from monai_vafa.results.schema import CLEAN, COLUMNS

from .hardening import change_table, hardening_figure, hardening_table
from .published import CONDITIONS, SWEEPS, TABLE_1, Scores

_COLUMNS = ("dsc", "hd95", "lpips")
_HEADERS = tuple(COLUMNS[column].header for column in _COLUMNS)
_PAIRS = {"eps": (4, 8), "sigma": (4, 8), "q_max": (20, 30)}


def write_paper_report(folder: str | os.PathLike) -> None:
    """
    Write the report of a benchmark with tables in the layout of the paper, and its published numbers where they apply.

    Otherwise as :func:`~monai_vafa.report.write_benchmark_report`. Table 2 and ``figures/hardening_CASE.png`` come only
    if ``benchmark.json`` says which models were hardened.
    """

    def table_1(benchmark: Benchmark) -> Section:
        return Section("In the layout of the paper", [budget_table(benchmark), *sweep_tables(benchmark)])

    def table_2(benchmark: Benchmark) -> Section:
        tables = [hardening_table(benchmark), change_table(benchmark)] if benchmark.hardened else []
        note = (
            "Attacked images of the first case, each with the prediction of the model that was attacked and the DSC of "
            "that case. Of many attacks the strongest are shown, of many models those of one network."
        )
        return Section("Hardened models", tables, partial(hardening_figure, benchmark), note)

    write_benchmark_report(folder, [table_1, table_2])


def budget_table(benchmark: Benchmark) -> Table:
    """Table 1 of the paper: each model and attack at its two budgets, ``DSC a / b``, or else in its base row alone."""
    beside = benchmark.published == "synapse"
    rows = [["", "", "budget", *_HEADERS, *(f"published {name}" for name in _HEADERS if beside)]]
    for model in benchmark.models:
        known = TABLE_1.get(_network(benchmark, model), {})
        for attack in benchmark.means(model):
            budget = benchmark.budget(attack)
            points = benchmark.sweep(attack, budget)
            pair = _PAIRS.get(budget or "", ())
            wanted = [p for p in points if p[0] in pair] or [p for p in points if p[1] == attack] or [(None, attack)]
            label = f"{budget} {' / '.join(_plain(value) for value, _ in wanted)}" if points else "-"
            ours = [[cell(c, benchmark.value(model, row, c)) for c in _COLUMNS] for _, row in wanted]
            theirs = [_published(known.get(attack, {}), value, 1) for value, _ in wanted]
            rows.append([model, attack, label, *_joined(ours), *(_joined(theirs) if beside else [])])
    return Table("Budgets of the paper", rows, [CONDITIONS["table 1"]] if beside else [], labels=3)


def sweep_tables(benchmark: Benchmark) -> list[Table]:
    """DSC and 100(1-LPIPS) for each value of q_max, steps and block size, for attacks with several of them."""
    tables = []
    models = [model for model in benchmark.models if benchmark.means(model)]
    for attack, (parameter, known) in product(benchmark.attacks, SWEEPS.items()):
        points = benchmark.sweep(attack, parameter)
        if len(points) < 2:
            continue
        comparable = benchmark.published == "synapse" and attack == "vafa"
        beside = [model for model in models if comparable and _network(benchmark, model) == "unetr"]
        columns = [[parameter, *(_plain(value) for value, _ in points)]]
        for model in models:
            for c in ("dsc", "lpips"):
                values = [cell(c, benchmark.value(model, row, c)) for _, row in points]
                columns.append([f"{model} {COLUMNS[c].header}", *values])
            if model in beside:
                dsc, _, lpips = zip(*(_published(known, value, 2) for value, _ in points), strict=True)
                columns += [["published DSC", *dsc], ["published 100(1-LPIPS)", *lpips]]
        rows = [list(row) for row in zip(*columns, strict=True)]
        tables.append(Table(f"{attack}: {parameter}", rows, [CONDITIONS[parameter]] if beside else []))
    return tables


def _network(benchmark: Benchmark, model: str) -> str:
    """The network whose published numbers a model may be compared with; none if it was hardened."""
    network, trained_against = benchmark.hardened.get(model, (model, CLEAN))
    return network if trained_against == CLEAN else ""


def _published(known: Mapping[str, Scores], value: Any, digits: int) -> list[str]:
    scores = known.get(_plain(value), [None] * 3)
    return ["-" if score is None else f"{score:.{digits}f}" for score in scores]


def _plain(value: Any) -> str:
    """A budget as text; that of clean images is empty."""
    return f"{value:g}" if isinstance(value, (int, float)) else str(value or "")


def _joined(points: list[list[str]]) -> list[str]:
    """``a / b`` for each column; one dash where there is nothing at all."""
    columns = zip(*points, strict=True)
    return ["-" if set(column) == {"-"} else " / ".join(column) for column in columns]
