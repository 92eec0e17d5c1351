# SPDX-License-Identifier: Apache-2.0
"""How certain the scores of attacks and models are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_vafa.results.files import write_rows
from monai_vafa.results.schema import CLEAN, Comparison, Statistics
from monai_vafa.results.statistics import ALPHA, FEW_CASES, NORMS, SIZES, compare

from .tables import Section, Table, cell, cell_with_interval

# Columns of statistics.csv and comparisons.csv.
_BOUNDS = ("dsc_low", "dsc_high", "dsc_foreground_low", "dsc_foreground_high", "drop", "drop_low", "drop_high")
_QUARTILES = ("q1", "median", "q3")
_NORMS = tuple(f"{column}_{part}" for column in NORMS for part in _QUARTILES)
_STATISTICS = ("model", "attack", "cases", *_BOUNDS, "success_rate", "worst_cases", *SIZES, *_NORMS)
_COMPARISONS = ("model", "attack", "first", "second", "cases", "difference", "p", "p_holm")


def certainty_section(
    folder: Path,
    statistics: Mapping[str, Statistics],
    scores: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> Section:
    """
    Drops, success rates, worst cases, sizes and tests, with ``statistics.csv`` and ``comparisons.csv``.

    Args:
        folder: where the files go.
        statistics: model -> its statistics; the name is empty for a single run.
        scores: attack -> model -> DSC by case, to test the models against each other.
    """
    between = {attack: compare(of_models) for attack, of_models in (scores or {}).items()}
    rows = [
        {"model": model, "attack": attack, **_flat(row)}
        for model, made in statistics.items()
        for attack, row in made["rows"].items()
    ]
    pairs = [{"model": model, **pair} for model, made in statistics.items() for pair in made["comparisons"]]
    pairs += [{"attack": attack, **pair} for attack, tested in between.items() for pair in tested]
    if rows:
        write_rows(folder / "statistics.csv", _STATISTICS, rows)
        write_rows(folder / "comparisons.csv", _COMPARISONS, pairs)
    tables = [_table(model, made) for model, made in statistics.items()]
    if any(between.values()):
        header = ["models", "first", "second", "difference", "p"]
        verdicts = []
        for attack, pair in ((attack, pair) for attack, tested in between.items() for pair in tested):
            p = f"{pair['p_holm']:.2g}" + ("" if pair["p_holm"] < ALPHA else ", not significant")
            verdicts.append([attack, pair["first"], pair["second"], f"{100 * pair['difference']:+.2f}", p])
        notes = ["DSC of the first minus that of the second; p: Wilcoxon signed-rank, Holm-corrected for each attack."]
        tables.append(Table("Between models", [header, *verdicts], notes, labels=3))
    return Section("How certain this is", tables)


def _table(model: str, statistics: Statistics) -> Table:
    """Statistics of a model, a row for each attack."""
    success = f"below {100 * statistics['threshold']:g}"
    header = ["", "cases", "drop of DSC", success, "worst 5 %", *(f"{size} structures" for size in SIZES)]
    rows = [
        [
            name,
            str(row["cases"]),
            "-" if name == CLEAN else cell_with_interval("dsc", row["drop"], row["drop_interval"]),
            f"{100 * row['success_rate']:.0f} %",
            cell("dsc", row["worst_cases"]),
            *(cell("dsc", row["by_size"].get(size)) for size in SIZES),
        ]
        for name, row in statistics["rows"].items()
    ]
    notes = [
        f"±: half of the {100 * statistics['confidence']:g} % bootstrap interval of the mean over cases.",
        f"{success}: share of cases with such a DSC, on which the attack has succeeded. "
        "Structures: mean DSC of thirds by size.",
    ]
    if min(row["cases"] for row in statistics["rows"].values()) < FEW_CASES:
        notes.append(f"Fewer than {FEW_CASES} cases: such intervals and tests mean little.")
    return Table(model, [header, *rows], [*notes, *_tests(statistics["comparisons"])])


def _tests(comparisons: Iterable[Comparison]) -> list[str]:
    """Which rows of a run can't be told apart."""
    pairs = list(comparisons)
    same = [f"{pair['first']} and {pair['second']}" for pair in pairs if pair["p_holm"] >= ALPHA]
    how = f"(Wilcoxon signed-rank over cases, Holm-corrected, pairs: {len(pairs)}, p < {ALPHA})"
    if len(same) == len(pairs):
        return [f"No two rows differ significantly {how}."] if pairs else []
    but = f" but for {', '.join(same)}" if same else ""
    return [f"All pairs of rows differ significantly {how}{but}."]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Statistics of a row as cells of a CSV file."""
    cells = {**row, **row["by_size"]}
    for column, quartiles in row.get("quartiles", {}).items():
        cells |= zip((f"{column}_{part}" for part in _QUARTILES), quartiles, strict=True)
    for column, bounds in {**row["intervals"], "drop": row["drop_interval"] or (None, None)}.items():
        cells[f"{column}_low"], cells[f"{column}_high"] = bounds
    return cells
