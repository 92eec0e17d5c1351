# SPDX-License-Identifier: Apache-2.0
"""How certain scores are: intervals over cases, paired tests, and what means hide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from .schema import CLEAN, LOST_GRADIENTS, Comparison, Statistics

CONFIDENCE, ALPHA = 0.95, 0.05
FEW_CASES = 10
_RESAMPLES, _WORST = 9999, 0.05  # the latter a share of the cases
SCORED = ("dsc", "dsc_foreground")  # columns that have intervals
NORMS = ("linf", "rmse")  # columns that have quartiles: of attacks that nothing bounds, they are the result
SIZES = ("small", "medium", "large")

Values = Mapping[str, float]  # by case


def interval(values: Iterable[float]) -> list[float] | None:
    """
    95 % bootstrap interval of a mean over cases: percentiles of 9,999 resamples.

    The same values always have the same interval; ``None`` for fewer than two.
    """
    sample = np.asarray(list(values), dtype=float)
    if len(sample) < 2:
        return None
    made = stats.bootstrap(
        (sample,), np.mean, confidence_level=CONFIDENCE, n_resamples=_RESAMPLES, method="percentile", rng=0
    )
    return sorted(float(bound) for bound in made.confidence_interval)  # equal values differ by rounding


def row_statistics(
    cases: Sequence[Mapping[str, Any]], clean: Values, threshold: float, metrics: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """
    How certain the scores of an attack are, and what their means hide.

    Args:
        cases: its rows of ``cases.csv``.
        clean: DSC of the image that nobody attacked, by case.
        threshold: a DSC; the attack succeeds on the cases below it.
        metrics: its rows of ``metrics.csv``, without background.

    Returns:
        ``cases``; ``intervals``, column -> bounds; ``drop`` of the DSC from ``clean``, over the cases that have both,
        and ``drop_interval``; ``success_rate``; ``worst_cases``, mean DSC of the worst 5 % (at least one case);
        ``by_size``, see :func:`by_size`; ``quartiles`` of L-inf and RMSE over the cases.
    """
    scores = {column: column_values(cases, column) for column in SCORED}
    dsc = np.sort(list(scores["dsc"].values()))
    drops = [clean[case] - value for case, value in scores["dsc"].items() if case in clean]
    return {
        "cases": len(dsc),
        "intervals": {column: bounds for column, values in scores.items() if (bounds := interval(values.values()))},
        "drop": mean(drops),
        "drop_interval": interval(drops),
        "success_rate": float(np.mean(dsc < threshold)),
        "worst_cases": float(dsc[: math.ceil(_WORST * len(dsc))].mean()),
        "by_size": by_size(metrics),
        "quartiles": {
            column: np.quantile(list(sizes.values()), (0.25, 0.5, 0.75)).tolist()
            for column in NORMS
            if (sizes := column_values(cases, column))
        },
    }


def compare(scores: Mapping[str, Values]) -> list[Comparison]:
    """
    Compare each pair of rows or models, name -> DSC of each case, over the cases that both have.

    The test is Wilcoxon's signed-rank test; ``p_holm`` is corrected for all pairs by Holm's method.
    """
    pairs: list[Comparison] = []
    for first, second in combinations(scores, 2):
        both = [case for case in scores[first] if case in scores[second]]
        differences = np.array([scores[first][case] - scores[second][case] for case in both])
        if len(differences):
            p = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
            mean = float(differences.mean())
            pairs.append(Comparison(first=first, second=second, cases=len(both), difference=mean, p=p, p_holm=p))
    largest = 0.0
    for i, pair in enumerate(sorted(pairs, key=lambda pair: pair["p"])):
        largest = pair["p_holm"] = min(max(largest, (len(pairs) - i) * pair["p"]), 1.0)
    return pairs


def by_size(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean DSC of thirds of all structures by their voxels in the label; empty if there are fewer than three."""
    sized = sorted((float(row.get("voxels") or 0), float(row["dsc"])) for row in metrics if row.get("dsc"))
    sized = [(voxels, dsc) for voxels, dsc in sized if voxels > 0]
    thirds = np.array_split([dsc for _, dsc in sized], len(SIZES)) if len(sized) >= len(SIZES) else []
    return {size: float(third.mean()) for size, third in zip(SIZES, thirds, strict=bool(thirds))}


def run_statistics(
    cases: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    *,
    tested: Iterable[str],
    background: str | None,
    threshold: float,
) -> Statistics:
    """
    Statistics of a run, ``summary.json``'s "statistics", from the rows of ``cases.csv`` and ``metrics.csv``.

    ``tested`` attacks are compared with each other and with the clean image; ``background`` is no structure.
    """
    scored = dict.fromkeys(row["attack"] for row in cases if row.get("dsc"))
    own = {name: [row for row in cases if row["attack"] == name] for name in scored}
    dsc = {name: column_values(rows, "dsc") for name, rows in own.items()}
    rows = {}
    for name in scored:
        structures = [row for row in metrics if row["attack"] == name and row["class"] != background]
        rows[name] = row_statistics(own[name], dsc.get(CLEAN, {}), threshold, structures)
    comparisons = compare({name: dsc[name] for name in (CLEAN, *tested) if name in dsc})
    return {"confidence": CONFIDENCE, "threshold": threshold, "rows": rows, "comparisons": comparisons}


def column_values(rows: Iterable[Mapping[str, Any]], column: str) -> dict[str, float]:
    """The values of a column of ``cases.csv`` that are there, by case."""
    return {row["case"]: float(row[column]) for row in rows if row.get(column)}


def column_means(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, float | None]:
    """Mean of each column but the keys over the rows of a CSV file that have a value in it."""
    # what is there only where something is wrong has no cells in an unbroken run, and empty ones in one that went on
    told = (key for row in rows for key, cell in row.items() if key not in keys and (cell or key not in LOST_GRADIENTS))
    columns = dict.fromkeys(told)
    return {column: mean(float(row[column]) for row in rows if row.get(column)) for column in columns}


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there; ``None`` if none is."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
