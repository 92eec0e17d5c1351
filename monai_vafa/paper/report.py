# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a benchmark with the paper's tables in it."""

from __future__ import annotations

import os
from functools import partial

from monai_vafa.report import Section, write_benchmark_report
from monai_vafa.report.benchmark import Benchmark

from .hardening import change_table, hardening_figure, hardening_table
from .tables import budget_table, sweep_tables


def write_paper_report(folder: str | os.PathLike) -> None:
    """
    Write the report of a benchmark with tables in the layout of the paper, and its published numbers where they apply.

    See :func:`~monai_vafa.report.write_benchmark_report`. Table 1 and the sweeps come for every benchmark; Table 2 and
    ``figures/hardening_CASE.png`` only if ``benchmark.json`` says which models were hardened.

    Args:
        folder: result folder of a benchmark.

    Raises:
        FileNotFoundError: If there is no ``benchmark.json``.
        ValueError: If a role of the checklist or a group of worst cases names an unknown row.
    """
    write_benchmark_report(folder, [_table_1, _table_2])


def _table_1(benchmark: Benchmark) -> Section:
    return Section("In the layout of the paper", [budget_table(benchmark), *sweep_tables(benchmark)])


def _table_2(benchmark: Benchmark) -> Section:
    tables = [hardening_table(benchmark), change_table(benchmark)] if benchmark.hardened else []
    note = (
        "Attacked images of the first case, each with the prediction of the model that was attacked and the DSC of "
        "that case. Of many attacks the strongest are shown, of many models those of one network."
    )
    return Section("Hardened models", tables, partial(hardening_figure, benchmark), note)
