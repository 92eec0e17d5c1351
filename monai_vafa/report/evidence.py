# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The numbers that the referee's checklist asks for, each with the way to get it where it is missing."""

from __future__ import annotations

from .benchmark import Benchmark
from .transfer import transferred_dsc, white_box_dsc

__all__ = ["NOT_APPLICABLE", "Evidence", "Line", "MissingEvidence", "verdict"]

Line = dict[str, str]  # check, verdict, reason
NOT_APPLICABLE = "not applicable"


class MissingEvidence(Exception):
    """A check can't be made; the message says how it could."""


def verdict(good: bool) -> str:
    """``pass`` or ``fail``."""
    return "pass" if good else "fail"


class Evidence:
    """
    Numbers of one model, by the roles of the checklist. Each method raises :class:`MissingEvidence`.

    Args:
        benchmark: what was read.
        model: name of the model.
    """

    def __init__(self, benchmark: Benchmark, model: str) -> None:
        self.benchmark = benchmark
        self.model = model

    def role(self, role: str) -> str:
        """Name of the row that plays a role."""
        if not (name := (self.benchmark.checklist or {}).get(role)):
            raise MissingEvidence(f"name a row for the role {role!r} in the checklist.")
        return name

    def dsc(self, row: str) -> float:
        """Mean DSC of a row, in percent."""
        if (value := self.benchmark.value(self.model, row, "dsc")) is None:
            raise MissingEvidence(f"{row} has no DSC for {self.model}; run it again.")
        return 100 * value

    def rmse(self, row: str) -> float:
        """Mean RMSE of a row, in gray values of 255."""
        if (value := self.benchmark.value(self.model, row, "rmse")) is None:
            raise MissingEvidence(f"{row} has no RMSE for {self.model}; run it again.")
        return value

    def sweep(self, attack: str) -> list[str]:
        """Rows of an attack by rising budget."""
        parameter, _ = self._size(attack)
        return [row for _, row in self.benchmark.sweep(attack, parameter)]

    def same_size(self, other: str) -> tuple[str, str]:
        """
        The row of another attack that has the budget of the iterative attack's base row.

        Args:
            other: name of the other attack.

        Returns:
            the budget as text, and the row.
        """
        name = self.role("iterative")
        (parameter, size), (its_parameter, its_size) = self._size(name), self._size(other)
        row = next((row for value, row in self.benchmark.sweep(other, its_parameter) if value == size), None)
        if row is None:
            raise MissingEvidence(
                f"{name} has {parameter} {size:g} and {other} {its_parameter} {its_size:g}; give them the same, "
                f"or sweep the {its_parameter} of {other} over {size:g} too."
            )
        return f"{parameter} {size:g}", row

    def budget_points(self) -> tuple[str, list[tuple[float, float]]]:
        """The iterative attack, and its DSC in percent by rising budget."""
        name = self.role("iterative")
        parameter, _ = self._size(name)
        return name, [(value, self.dsc(row)) for value, row in self.benchmark.sweep(name, parameter)]

    def transferred(self, attack: str) -> list[tuple[str, float, float]]:
        """For each other model: its name, and the DSC of the attack made on this and on that one, same cases."""
        pairs = []
        for source in self.benchmark.models:
            scores = transferred_dsc(self.benchmark, source, self.model, attack)
            own = white_box_dsc(self.benchmark, self.model, attack, list(scores))
            if source != self.model and scores and own is not None:
                pairs.append((source, 100 * own, 100 * sum(scores.values()) / len(scores)))
        return pairs

    def _size(self, attack: str) -> tuple[str, float]:
        parameter = self.benchmark.budget(attack)
        value = None if parameter is None else self.benchmark.base_value(attack, parameter)
        if parameter is None or not isinstance(value, (int, float)):
            raise MissingEvidence(f"the budget of {attack} is not known; name it under budgets.")
        return parameter, value
