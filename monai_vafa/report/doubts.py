# SPDX-License-Identifier: Apache-2.0
"""What readers of a result must be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_vafa.results.schema import LOST_GRADIENTS

_MOST_CASES = 5


def run_doubts(summary: Mapping[str, Any], cases: Sequence[Mapping[str, str]]) -> list[str]:
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
    for column, parts in LOST_GRADIENTS.items():
        told = []
        for attack in summary["means"]:
            found = [(float(row.get(column) or 0), row["case"]) for row in cases if row["attack"] == attack]
            shares = sorted((pair for pair in found if pair[0] > 0), key=lambda pair: -pair[0])
            named = [f"{100 * share:.3g} % in {case}" for share, case in shares[:_MOST_CASES]]
            named += [f"{len(shares) - _MOST_CASES} more, see cases.csv"] if len(shares) > _MOST_CASES else []
            told += [f"{attack} {', '.join(named)}"] if named else []
        if told:
            why = (
                "Broken or masked gradients look like robustness, so the DSC under these attacks may be too high: "
                "compare with an attack that needs no gradient, such as square."
            )
            if column == "goal_missed":
                why = "Their norms are those of the closest images found: more steps may reach the goal."
            doubts.append(f"{parts}: {'; '.join(told)}. {why}")
    return doubts
