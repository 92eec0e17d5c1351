# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The result folder of a robustness benchmark, as its report reads it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_vafa.results.files import number, read_json, read_rows
from monai_vafa.results.schema import BENCHMARK, CASES, CLEAN, COLUMNS, SUMMARY, TRANSFER


class Benchmark:
    """
    The results of a benchmark, finished or not, read from its folder.

    A row is an attack with one set of parameters. Base rows are named like their attack; a variation differs from
    its base row in one parameter. A model that failed before its first case has no summary and no means.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        content = read_json(self.folder / BENCHMARK)
        if not content:
            raise FileNotFoundError(f"{self.folder / BENCHMARK} does not exist: not the folder of a benchmark.")
        self.status: str = content["status"]
        self.description: str = content["description"]
        self.rows: dict[str, dict[str, Any]] = content["rows"]
        self.worst_cases: dict[str, list[str]] = content.get("worst_cases") or {}
        self.checklist: dict[str, Any] | None = content.get("checklist")
        self.published: str | None = content.get("published")
        # model -> its network, and what it was trained against
        self.hardened = {model: (made[0], made[1]) for model, made in (content.get("hardened") or {}).items()}
        self.models: list[str] = content["models"]
        self.attacks = [name for name, row in self.rows.items() if row["parameter"] is None]
        self.summaries = {model: read_json(self.folder / model / SUMMARY) for model in self.models}
        self.cases = {model: read_rows(self.folder / model / CASES) for model in self.models}
        self.transfers = read_rows(self.folder / TRANSFER)
        for group, names in self.worst_cases.items():
            if unknown := [name for name in names if name not in self.rows]:
                known = ", ".join(self.rows)
                raise ValueError(f"worst_cases[{group!r}] names {unknown[0]!r}, which is none of {known}.")

    def means(self, model: str) -> dict[str, dict[str, Any]]:
        """Means over the cases of a model, row -> column -> mean: clean, then the base rows that it has."""
        means = self.summaries[model].get("means") or {}
        return {name: means[name] for name in (CLEAN, *self.attacks) if name in means}

    def value(self, model: str, row: str, column: str) -> float | None:
        """Mean of a column over the cases of a model; ``None`` if there is none."""
        return ((self.summaries[model].get("means") or {}).get(row) or {}).get(column)

    def case_values(self, model: str, row: str, column: str) -> dict[str, float]:
        """Value of a column for each case that has one."""
        return _values({r["case"]: r.get(column) for r in self.cases[model] if r["attack"] == row})

    def described(self, row: str) -> dict[str, Any]:
        """What ``summary.json`` says of a row: parameters, threat model, and so on; empty if no model has it."""
        known = (summary.get("attacks", {}).get(row) for summary in self.summaries.values())
        return next((row for row in known if row), {})

    def is_control(self, row: str) -> bool:
        """Whether a row never looks at the network."""
        return bool(self.described(row).get("control"))

    def budget(self, attack: str) -> str | None:
        """The parameter that bounds an attack; ``None`` if it has none or the files don't say."""
        return self.described(attack).get("budget")

    def base_value(self, attack: str, parameter: str) -> Any:
        """Value of a parameter in an attack's base row; ``None`` if the files don't say."""
        value = self.described(attack).get("parameters", {}).get(parameter)
        # a block is described by all its sides
        return value[0] if isinstance(value, list) and len(set(value)) == 1 else value

    def threat_models(self) -> dict[str, str]:
        """Threat model of each base row."""
        return {row: text for row in self.attacks if (text := self.described(row).get("threat_model"))}

    def sweep(self, attack: str, parameter: str) -> list[tuple[Any, str]]:
        """The base row of an attack and those that differ in one parameter: ``(value, row)`` by increasing value."""
        base = self.base_value(attack, parameter)
        points = [] if base is None or attack not in self.rows else [(base, attack)]
        points += [
            (row["value"], name)
            for name, row in self.rows.items()
            if row["attack"] == attack and row["parameter"] == parameter and row["value"] != base
        ]
        return sorted(points, key=lambda point: point[0] if isinstance(point[0], (int, float)) else math.inf)

    def worst_rows(self, model: str) -> list[dict[str, Any]]:
        """
        The attack with the lowest DSC on each case, for each group of ``worst_cases``.

        An attacker who may try several attacks keeps the best one for each image, so this is lower than the mean of
        any single attack. Cases without a DSC under any attack of the group are left out.
        """
        chosen = []
        for group, attacks in self.worst_cases.items():
            scored = [row for row in self.cases[model] if row["attack"] in attacks and row.get("dsc")]
            for case in dict.fromkeys(row["case"] for row in scored):
                lowest = min((row for row in scored if row["case"] == case), key=lambda row: float(row["dsc"]))
                values = {column: number(lowest.get(column)) for column in COLUMNS if column in lowest}
                chosen.append({"model": model, "group": group, "case": case, "attack": lowest["attack"], **values})
        return chosen

    def worst_means(self, model: str) -> dict[str, dict[str, float | None]]:
        """Means of :meth:`worst_rows` over the cases, group -> column -> mean."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in self.worst_rows(model):
            groups.setdefault(row["group"], []).append(row)
        return {
            group: {column: mean([row[column] for row in rows]) for column in COLUMNS if column in rows[0]}
            for group, rows in groups.items()
        }

    def transferred(self, source: str, target: str, attack: str) -> dict[str, float]:
        """DSC of one model on images that were made against another, by case."""
        wanted = {"source": source, "target": target, "attack": attack}
        rows = [row for row in self.transfers if all(row[key] == value for key, value in wanted.items())]
        return _values({row["case"]: row.get("dsc") for row in rows})

    def white_box(self, model: str, attack: str, cases: Sequence[str]) -> float | None:
        """Mean DSC of a model under an attack on itself, over the cases named."""
        values = self.case_values(model, attack, "dsc")
        return mean([values.get(case) for case in cases])

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


def _values(texts: dict[str, str | None]) -> dict[str, float]:
    numbers = {case: number(text) for case, text in texts.items()}
    return {case: value for case, value in numbers.items() if value is not None}
