# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The result folder of a robustness benchmark, as the parts of its report read it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_vafa.results.files import number, read_json, read_rows

__all__ = ["CLEAN", "CONTROLS", "Benchmark", "mean"]

CLEAN = "clean"
# rows that never look at the network: drawn apart from the attacks
CONTROLS = ("quantize_only", "rescale_only", "gn")
# the budgets of attacks that were not swept
_BUDGETS = ("eps", "sigma", "q_max")
_UNBOUNDING = ("steps", "seed", "block_size")


class Benchmark:
    """
    What a benchmark wrote, whether it is finished or not.

    A row is an attack with one set of parameters. Base rows are named like their attack; a variation differs from
    its base row in one parameter. A model that failed before its first case has no summary, and no means.

    Args:
        folder: holds ``benchmark.json`` and a folder for each model.

    Raises:
        FileNotFoundError: When there is no ``benchmark.json``.
        ValueError: When a group of ``worst_cases`` names an unknown row.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        content = read_json(self.folder / "benchmark.json")
        if not content:
            raise FileNotFoundError(f"{self.folder / 'benchmark.json'} does not exist: not the folder of a benchmark.")
        self.status: str = content["status"]
        self.description: str = content["description"]
        self.rows: dict[str, dict[str, Any]] = content["rows"]
        # an attack may be swept over something that bounds nothing
        self.budgets = {a: parameter for a, parameter in content["budgets"].items() if parameter not in _UNBOUNDING}
        self.values: dict[str, dict[str, Any]] = content["values"]
        self.worst_cases: dict[str, list[str]] = content.get("worst_cases") or {}
        self.checklist: dict[str, Any] | None = content.get("checklist")
        self.published: str | None = content.get("published")
        # model -> its network, and what it was trained against
        self.hardened = {model: (made[0], made[1]) for model, made in (content.get("hardened") or {}).items()}
        self.models: list[str] = content["models"]
        self.attacks = [name for name, row in self.rows.items() if row["parameter"] is None]
        self.summaries = {model: read_json(self.folder / model / "summary.json") for model in self.models}
        self.cases = {model: read_rows(self.folder / model / "cases.csv") for model in self.models}
        self.transfer = read_rows(self.folder / "transfer.csv")
        for group, names in self.worst_cases.items():
            if unknown := [name for name in names if name not in self.rows]:
                known = ", ".join(self.rows)
                raise ValueError(f"worst_cases[{group!r}] names {unknown[0]!r}, which is none of {known}.")

    def means(self, model: str) -> dict[str, dict[str, Any]]:
        """Means over the cases of a model, row -> column -> mean: clean, then the base rows that it has."""
        means = self.summaries[model].get("means") or {}
        return {name: means[name] for name in (CLEAN, *self.attacks) if name in means}

    def value(self, model: str, row: str, column: str) -> float | None:
        """Mean of a column over the cases of a model; ``None`` where there is none."""
        return ((self.summaries[model].get("means") or {}).get(row) or {}).get(column)

    def threat_models(self) -> dict[str, str]:
        """Threat model of each base row."""
        known = {row: text for s in self.summaries.values() for row, text in s.get("threat_models", {}).items()}
        return {row: known[row] for row in self.attacks if row in known}

    def base_value(self, attack: str, parameter: str) -> Any:
        """What an attack's base row has as a parameter, as far as the files say."""
        if parameter in self.values.get(attack, {}):
            return self.values[attack][parameter]
        described = (s.get("parameters", {}).get("attacks", {}).get(attack, {}) for s in self.summaries.values())
        return next((d[parameter] for d in described if d.get(parameter) is not None), None)

    def budget(self, attack: str) -> str | None:
        """The parameter that bounds an attack; ``None`` when the files don't say."""
        if attack in self.budgets:
            return self.budgets[attack]
        return next((name for name in _BUDGETS if self.base_value(attack, name) is not None), None)

    def sweep(self, attack: str, parameter: str) -> list[tuple[Any, str]]:
        """
        Rows of an attack that differ in one parameter, the base row among them.

        Args:
            attack: name of the base row.
            parameter: name of the parameter.

        Returns:
            ``(value, row)`` by rising value; what is no number comes last.
        """
        base = self.base_value(attack, parameter)
        points = [] if base is None or attack not in self.rows else [(base, attack)]
        points += [
            (row["value"], name)
            for name, row in self.rows.items()
            if row["attack"] == attack and row["parameter"] == parameter and row["value"] != base
        ]
        return sorted(points, key=lambda point: point[0] if isinstance(point[0], (int, float)) else math.inf)

    def case_values(self, model: str, row: str, column: str) -> dict[str, float]:
        """Value of a column for each case that has one."""
        values = {r["case"]: number(r.get(column)) for r in self.cases[model] if r["attack"] == row}
        return {case: value for case, value in values.items() if value is not None}

    def notes(self, model: str) -> list[str]:
        """What is missing in the results of a model."""
        summary = self.summaries[model]
        notes = [f"FAILED {case}: {error}" for case, error in summary.get("failed", {}).items()]
        if not self.means(model):
            return [*notes, "No results: this model failed, or has not been run yet."]
        total = len(summary["cases"])
        notes.insert(0, f"Mean over {total - len(summary['failed'])} of {total} cases.")
        covered = {row: self.case_values(model, row, "dsc").keys() for row in (CLEAN, *self.rows)}
        if other := [f"{row} ({len(cases)})" for row, cases in covered.items() if cases != covered[CLEAN]]:
            notes.append(f"Not over the same {len(covered[CLEAN])} cases as {CLEAN}: {', '.join(other)}.")
        if summary["unmeasured"]:
            notes.append(f"Not measured here (the log says why): {', '.join(summary['unmeasured'])}.")
        return notes


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are there; ``None`` if none is."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
