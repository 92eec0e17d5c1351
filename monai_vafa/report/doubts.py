# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What readers of a result must be warned of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monai_vafa.results.schema import LOST_GRADIENTS

_MOST_CASES = 5


def run_doubts(summary: Mapping[str, Any], cases: Iterable[Mapping[str, str]]) -> list[str]:
    """Sentences on a run, from its ``summary.json`` and the rows of its ``cases.csv``."""
    doubts = []
    if summary["status"] != "complete":
        doubts.append(f"This run is not complete (status: {summary['status']}).")
    if count := summary.get("unlabelled"):
        doubts.append(
            f"{count} of {len(summary['cases'])} cases have no label: the prediction for the clean image stands in for "
            "it. Scores tell how far an attack moves the prediction, not how good it is; the clean ones mean nothing."
        )
    if summary.get("probabilities"):
        doubts.append(
            "The network gives probabilities instead of logits. They are converted back, but where they are exactly 0 "
            "or 1 an attack has no gradient to follow, which looks like robustness."
        )
    return doubts + _lost_gradients([row for row in cases if row["case"] in summary["cases"]], summary["means"])


def _lost_gradients(rows: Iterable[Mapping[str, str]], attacks: Iterable[str]) -> list[str]:
    """A sentence for each attack that had no gradient to follow in part."""
    doubts = []
    for attack in attacks:
        for column, meaning in LOST_GRADIENTS.items():
            shares = {r["case"]: float(r[column]) for r in rows if r["attack"] == attack and r.get(column)}
            worst = sorted((case for case in shares if shares[case] > 0), key=lambda case: -shares[case])
            told = ", ".join(f"{100 * shares[case]:.3g} % in {case}" for case in worst[:_MOST_CASES])
            more = f" and {len(worst) - _MOST_CASES} more cases, see cases.csv" if len(worst) > _MOST_CASES else ""
            if worst:
                doubts.append(
                    f"The DSC under {attack} may be too high: {meaning}: {told}{more}. Broken or masked gradients look "
                    "like robustness; compare with an attack that needs no gradient, such as square."
                )
    return doubts
