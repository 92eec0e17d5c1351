# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Attacks made on one model and shown to another."""

from __future__ import annotations

from collections.abc import Sequence

from monai_vafa.results.files import number

from .benchmark import CLEAN, Benchmark, mean
from .table import Table, cell

__all__ = ["transfer_tables", "transferred_dsc", "white_box_dsc"]


def transferred_dsc(benchmark: Benchmark, source: str, target: str, attack: str) -> dict[str, float]:
    """
    DSC of a model on images that were made against another one.

    Args:
        benchmark: what was read.
        source: model that was attacked.
        target: model that then saw the images.
        attack: name of the row.

    Returns:
        case -> DSC.
    """
    wanted = {"source": source, "target": target, "attack": attack}
    rows = [row for row in benchmark.transfer if all(row[key] == value for key, value in wanted.items())]
    values = {row["case"]: number(row.get("dsc")) for row in rows}
    return {case: value for case, value in values.items() if value is not None}


def white_box_dsc(benchmark: Benchmark, model: str, attack: str, cases: Sequence[str]) -> float | None:
    """
    Mean DSC of a model under an attack on itself.

    Args:
        benchmark: what was read.
        model: name of the model.
        attack: name of the row.
        cases: over which to take the mean, so that it can stand beside a transferred attack.
    """
    values = benchmark.case_values(model, attack, "dsc")
    return mean([values.get(case) for case in cases])


def transfer_tables(benchmark: Benchmark) -> list[Table]:
    """
    For each attack, source and target: the target's DSC, mean over cases; white box where both are the same.

    Args:
        benchmark: what was read.

    Returns:
        one table, or none when nothing was transferred.
    """
    if not benchmark.transfer:
        return []
    rows = [["attack", "made on", *(f"DSC of {model}" for model in benchmark.models)]]
    cases = list(dict.fromkeys(row["case"] for row in benchmark.transfer))
    rows.append([CLEAN, "-", *(cell("dsc", white_box_dsc(benchmark, m, CLEAN, cases)) + " " for m in benchmark.models)])
    for attack in dict.fromkeys(row["attack"] for row in benchmark.transfer):
        if attack == CLEAN:
            continue
        for source in benchmark.models:
            line = []
            for target in benchmark.models:
                if source == target:
                    line.append(cell("dsc", white_box_dsc(benchmark, target, attack, cases)) + "*")
                else:
                    scores = transferred_dsc(benchmark, source, target, attack)
                    line.append(cell("dsc", mean(list(scores.values()))) + " ")
            rows.append([attack, source, *line])
    notes = ["DSC in percent, mean over the cases that were transferred. * white box: made on this very model."]
    return [Table("", rows, notes, labels=2)]
