# SPDX-License-Identifier: Apache-2.0
"""The result folder of a robustness benchmark, as its report reads it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_vafa.results.files import check_known, inside, read_json, read_rows
from monai_vafa.results.schema import BENCHMARK, CASE_KEYS, CASES, CLEAN, SUMMARY, TRANSFER, Statistics
from monai_vafa.results.statistics import Values, column_means, column_values, mean, row_statistics

# roles of rows in the checklist, and the one that is a number instead
ROLES = ("iterative", "single_step", "gradient_free", "noise", "quantize", "frequency")
HUGE_BUDGET = "huge_budget"


class Benchmark:
    """
    The results of a benchmark, finished or not, read from its folder.

    A row is an attack with one set of parameters. Base rows are named like their attack; a variation differs from
    its base row in one parameter. A model that failed before its first case has no summary and no means.

    Raises:
        FileNotFoundError: If there is no ``benchmark.json``.
        ValueError: If a role of the checklist or a group of worst cases names an unknown row.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        content = read_json(self.folder / BENCHMARK)
        if not content:
            raise FileNotFoundError(f"{self.folder / BENCHMARK} does not exist: not the folder of a benchmark.")
        self.status: str = content["status"]
        self.description = str(content["description"])
        self.models: list[str] = content["models"]
        self.rows: dict[str, dict[str, Any]] = content["rows"]
        self.attacks = [name for name, row in self.rows.items() if row["parameter"] is None]
        self.worst_cases: dict[str, list[str]] = content["worst_cases"]
        self.checklist: dict[str, Any] | None = content["checklist"]
        self.published: str | None = content["published"]
        # model -> its network, and what it was trained against
        self.hardened = {model: (made[0], made[1]) for model, made in content.get("hardened", {}).items()}
        self.summaries = {model: read_json(inside(self.folder, model) / SUMMARY) for model in self.models}
        self.cases = {model: case_rows(self.folder / model, self.summaries[model]) for model in self.models}
        self.transfers = read_rows(self.folder / TRANSFER)
        # row -> parameters, threat model and so on; empty for rows that no model has
        self.facts: dict[str, dict[str, Any]] = {row: {} for row in self.rows}
        for facts in reversed([summary.get("attacks", {}) for summary in self.summaries.values()]):
            self.facts.update(facts)
        named = {f"worst_cases[{group!r}]": names for group, names in self.worst_cases.items()}
        for role, name in (self.checklist or {}).items():
            if role not in (*ROLES, HUGE_BUDGET):
                raise ValueError(f"checklist role {role!r} is none of {', '.join((*ROLES, HUGE_BUDGET))}.")
            named[f"checklist[{role!r}]"] = [] if role == HUGE_BUDGET else [name]
        for place, names in named.items():
            check_known(place, names, self.rows)
        # model -> its statistics, if its run has ended
        self.statistics = {model: made for model in self.models if (made := self._statistics(model))}

    def means(self, model: str) -> dict[str, dict[str, Any]]:
        """Means over the cases of a model, row -> column -> mean: clean, then the base rows that it has."""
        means = self.summaries[model].get("means", {})
        return {name: means[name] for name in (CLEAN, *self.attacks) if name in means}

    def value(self, model: str, row: str, column: str) -> float | None:
        """Mean of a column over the cases of a model; ``None`` if there is none. The row may be a group."""
        if row in self.worst_cases:
            return self.worst_means(model).get(row, {}).get(column)
        return self.summaries[model].get("means", {}).get(row, {}).get(column)

    def _statistics(self, model: str) -> Statistics | None:
        """Statistics of a model, those of the groups of worst cases too; ``None`` before its run has ended."""
        made: Statistics | None = self.summaries[model].get("statistics")
        if made is None:
            return None
        rows, clean = dict(made["rows"]), self.case_values(model, CLEAN, "dsc")
        for group in self.worst_cases:
            if worst := self.rows_under(model, group):
                rows[group] = row_statistics(worst, clean, made["threshold"])
        return {**made, "rows": rows}

    def case_values(self, model: str, row: str, column: str) -> Values:
        """Value of a column for each case that has one; the row may be a group."""
        return column_values(self.rows_under(model, row), column)

    def budget(self, attack: str) -> str | None:
        """The parameter that bounds an attack; ``None`` if it has none or the files don't say."""
        return self.facts.get(attack, {}).get("budget")

    def base_value(self, attack: str, parameter: str | None) -> Any:
        """Value of a parameter in an attack's base row; ``None`` if the files don't say."""
        value = self.facts.get(attack, {}).get("parameters", {}).get(parameter)
        # a block is described by all its sides
        return value[0] if isinstance(value, list) and len(set(value)) == 1 else value

    def sweep(self, attack: str, parameter: str | None) -> list[tuple[Any, str]]:
        """The base row of an attack and those that differ in one parameter: ``(value, row)`` by increasing value."""
        base = self.base_value(attack, parameter)
        points = [] if base is None or attack not in self.rows else [(base, attack)]
        points += [
            (row["value"], name)
            for name, row in self.rows.items()
            if parameter and row["attack"] == attack and row["parameter"] == parameter and row["value"] != base
        ]
        return sorted(points, key=lambda point: point[0] if isinstance(point[0], (int, float)) else math.inf)

    def rows_under(self, model: str, row: str) -> list[dict[str, str]]:
        """
        Rows of ``cases.csv`` under a row; under a group of ``worst_cases``, on each case those of the lowest DSC.

        An attacker who may try several attacks keeps the best one for each image, so this is lower than the mean of
        any single attack. Cases without a DSC under any attack of the group are left out.
        """
        if row not in self.worst_cases:
            return [own for own in self.cases[model] if own["attack"] == row]
        scored = [own for own in self.cases[model] if own["attack"] in self.worst_cases[row] and own.get("dsc")]
        cases = dict.fromkeys(own["case"] for own in scored)
        return [min((r for r in scored if r["case"] == case), key=lambda r: float(r["dsc"])) for case in cases]

    def worst_means(self, model: str) -> dict[str, dict[str, float | None]]:
        """Means of the groups of worst cases that have any: group -> column -> mean over the cases."""
        groups = {group: self.rows_under(model, group) for group in self.worst_cases}
        return {group: column_means(rows, CASE_KEYS) for group, rows in groups.items() if rows}

    def transferred(self, source: str, target: str, attack: str) -> Values:
        """DSC of one model on images that were made against another, by case."""
        wanted = {"source": source, "target": target, "attack": attack}
        return column_values((row for row in self.transfers if wanted.items() <= row.items()), "dsc")

    def white_box(self, model: str, attack: str, cases: Iterable[str]) -> float | None:
        """Mean DSC of a model under an attack on itself, over the cases named."""
        values = self.case_values(model, attack, "dsc")
        return mean(values.get(case) for case in cases)


def case_rows(folder: Path, summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of ``cases.csv`` of the last run in a folder; those before may have had other cases."""
    return [row for row in read_rows(folder / CASES) if row["case"] in summary.get("cases", ())]
