# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a benchmark: attacks, and variations of each in one parameter."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai_vafa.attacks import Attack

__all__ = ["AttackRows", "Row", "join_sweeps"]

_Sweeps = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Row:
    """
    What a row stands for.

    Args:
        attack: name of the base attack.
        parameter: name of the parameter in which the row differs from it; ``None`` for the base attack itself.
        value: value of that parameter.
    """

    attack: str
    parameter: str | None = None
    value: float | None = None


class AttackRows:
    """
    Base attacks under their own names, then variations of them as ``ATTACK-PARAMETERVALUE``, e.g. ``pgd-eps8``.

    A value that the base attack has already is not run twice: the base row stands for it. The same rows can be built
    for several models, whose images have different ranges.

    Args:
        attacks: name -> what makes the attack, e.g. ``functools.partial(VolumetricFrequencyAttack, q_max=20)``; in a
            bundle's JSON ``"_target_"`` with ``"_mode_": "callable"``.
        sweeps: attack -> parameter -> values. The first parameter of an attack is its budget.
        common: parameters for every attack that does not set them itself, e.g. ``amp`` and ``progress``.

    Attributes:
        rows: name -> :class:`Row`, base attacks first.
        budgets: swept attack -> its budget's name.
        values: swept attack -> the base attack's own values of the swept parameters.

    Raises:
        TypeError: When an attack is no factory.
        ValueError: When ``sweeps`` names an attack or parameter that there is not, or a value is no number.
    """

    def __init__(
        self, *, attacks: Mapping[str, Callable[..., Attack]], sweeps: _Sweeps | None = None, **common: Any
    ) -> None:
        self._attacks = dict(attacks)
        self._common = common
        self.rows = {name: Row(name) for name in self._attacks}
        self.budgets: dict[str, str] = {}
        self.values: dict[str, dict[str, Any]] = {}
        for name, factory in self._attacks.items():
            if isinstance(factory, Attack) or not callable(factory):
                raise TypeError(
                    f'attacks[{name!r}] must be what makes the attack (in JSON: "_mode_": "callable"), not '
                    f"{type(factory).__name__}."
                )
        for name, parameters in (sweeps or {}).items():
            if name not in self._attacks:
                raise ValueError(f"sweeps names {name!r}, which is none of the attacks {', '.join(self._attacks)}.")
            base = vars(self._make(Row(name), {}))
            for parameter, values in parameters.items():
                if parameter not in base:
                    known = ", ".join(key for key in base if not key.startswith("_"))
                    raise ValueError(f"sweeps[{name!r}] names {parameter!r}, which is none of {known}.")
                self.budgets.setdefault(name, parameter)
                self.values.setdefault(name, {})[parameter] = base[parameter]
                for value in values:
                    if not (isinstance(value, numbers.Real) and math.isfinite(value)):
                        raise ValueError(f"sweeps[{name!r}][{parameter!r}] holds {value!r}, which is no number.")
                    if value != base[parameter]:
                        self.rows[f"{name}-{parameter}{value:g}"] = Row(name, parameter, value)

    @property
    def attacks(self) -> list[str]:
        """Names of the base attacks."""
        return list(self._attacks)

    def build(self, **parameters: Any) -> dict[str, Attack]:
        """
        Make the attacks.

        Args:
            parameters: for every attack that does not set them itself, e.g. a model's ``intensity_range``.

        Returns:
            row name -> attack, in order.
        """
        return {name: self._make(row, parameters) for name, row in self.rows.items()}

    def _make(self, row: Row, parameters: Mapping[str, Any]) -> Attack:
        factory = self._attacks[row.attack]
        own = {} if row.parameter is None else {row.parameter: row.value}
        own = {**getattr(factory, "keywords", {}), **own}
        return factory(**{**self._common, **parameters, **own})


def join_sweeps(*sweeps: _Sweeps) -> dict[str, dict[str, list[float]]]:
    """
    One set of sweeps from several.

    Args:
        sweeps: attack -> parameter -> values.

    Returns:
        all of them, attacks, parameters and values in the order in which they first came.
    """
    joined: dict[str, dict[str, list[float]]] = {}
    for part in sweeps:
        for attack, parameters in part.items():
            for parameter, values in parameters.items():
                known = joined.setdefault(attack, {}).setdefault(parameter, [])
                known += [value for value in values if value not in known]
    return joined
