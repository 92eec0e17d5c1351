# SPDX-License-Identifier: Apache-2.0
"""The rows of a table: attacks of the roster, and variations of each in one parameter, made to fit a target."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, TypeAlias

import torch
from monai.utils import ensure_tuple, ensure_tuple_rep

from monai_vafa.attacks import (
    Attack,
    RescaleOnly,
    SliceFrequencyAttack,
    SliceSpectrumAdversarialAttack,
    SpectrumAdversarialAttack,
    VolumetricFrequencyAttack,
)
from monai_vafa.attacks.roster import RosterEntry, entry_of
from monai_vafa.results.files import check_known, same_name
from monai_vafa.results.schema import CLEAN, LABEL, Row
from monai_vafa.target import Target

AttackSpec: TypeAlias = Attack | Mapping[str, Any]
Attacks: TypeAlias = "AttackRows | Mapping[str, AttackSpec] | Sequence[str]"
Aim: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
Sweeps: TypeAlias = Mapping[str, Mapping[str, Sequence[float]]]
_Base: TypeAlias = Attack | tuple[RosterEntry, dict[str, Any]]

# Attacks of each slice by itself, and their forms in 3-D.
_IN_SPACE: dict[type[Attack], type[Attack]] = {
    SliceFrequencyAttack: VolumetricFrequencyAttack,
    SliceSpectrumAdversarialAttack: SpectrumAdversarialAttack,
}


class AttackRows:
    """
    Attacks under their own names, then variations of them as ``ATTACK-PARAMETERVALUE``, e.g. ``pgd-eps8``.

    A value that the attack has already is not run twice: its own row stands for it. The same rows can be built for
    several targets: each gets attacks that fit its range of intensities, its window and its slices.

    Args:
        attacks: names of the roster (see :mod:`monai_vafa.attacks.roster`), or name -> an attack, or parameters that
            differ from the roster's: ``{"strong": {"attack": "pgd", "eps": 8}}`` is its ``pgd`` under another name.
        sweeps: attack -> parameter -> values.
        common: parameters for every attack that has them and does not set them itself, such as ``seed``.

    Attributes:
        rows: name -> :class:`~monai_vafa.results.schema.Row`, the attacks themselves first.

    Raises:
        ValueError: If an attack, or an attack or parameter of ``sweeps``, is unknown, or a value is not a number.
    """

    def __init__(
        self,
        attacks: Mapping[str, AttackSpec] | Sequence[str],
        *,
        sweeps: Sweeps | None = None,
        common: Mapping[str, Any] | None = None,
    ) -> None:
        self._attacks = _bases(attacks)
        self._common = dict(common or {})
        self.rows = {name: Row(name) for name in self._attacks}
        sweeps = {} if sweeps is None else sweeps
        if not isinstance(sweeps, Mapping) or not all(isinstance(each, Mapping) for each in sweeps.values()):
            raise TypeError(f"sweeps={sweeps!r} must be attack -> parameter -> values.")
        for name, parameters in sweeps.items():
            check_known("sweeps", [name], self._attacks, "the attacks ")
            if isinstance(self._attacks[name], Attack):
                raise ValueError(f"sweeps names {name!r}, which is built already: give its parameters instead.")
            base = self._make(Row(name), None)
            for parameter, values in parameters.items():
                known = signature(type(base)).parameters
                check_known(f"sweeps[{name!r}]", [parameter], known)
                single: Sequence[float] = ensure_tuple(values)
                for value in single:
                    if not (isinstance(value, numbers.Real) and math.isfinite(value)):
                        raise ValueError(f"sweeps[{name!r}][{parameter!r}] holds {value!r}, which is not a number.")
                    if value != getattr(base, parameter):
                        self.rows[f"{name}-{parameter}{value:g}"] = Row(name, parameter, value)

    @classmethod
    def of(cls, attacks: Attacks) -> AttackRows:
        """The rows themselves, or rows of attacks."""
        return attacks if isinstance(attacks, AttackRows) else cls(attacks)

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks, without their variations."""
        return list(self._attacks)

    @property
    def without_controls(self) -> list[str]:
        """Names of the attacks that ask the network."""
        bases = self._attacks.items()
        return [name for name, base in bases if not (base if isinstance(base, Attack) else base[0]).control]

    def build(self, target: Target) -> dict[str, Attack]:
        """
        Make the attacks for a target: row name -> attack, in order.

        ``block_size`` as a single integer is the largest side: blocks become thinner where the target's window is.
        Networks of axial slices get the slice-wise forms of VAFA and SA2. Where slices are counted by another axis
        than the last, nothing is stretched slice by slice, and ``RescaleOnly`` is left out.
        """
        built = {name: self._make(row, target) for name, row in self.rows.items()}
        return {name: attack for name, attack in built.items() if target.axial or not isinstance(attack, RescaleOnly)}

    def _make(self, row: Row, target: Target | None) -> Attack:
        base = self._attacks[row.attack]
        if isinstance(base, Attack):
            return base
        entry, changes = base
        cls = entry.attack if target is None else _form_for(entry.attack, target)
        own = {**entry.parameters, **changes} | ({} if row.parameter is None else {row.parameter: row.value})
        known = signature(cls).parameters
        parameters = {**{name: value for name, value in self._common.items() if name in known}, **own}
        if target is not None:
            parameters.setdefault("intensity_range", target.intensity_range)
            if "block_size" in known:
                largest = parameters.get("block_size", known["block_size"].default)
                if isinstance(largest, int):
                    parameters["block_size"] = target.block_size(largest, in_plane=cls.in_plane)
            if "rescale_slices" in known and not target.axial:
                parameters["rescale_slices"] = False
        return cls(**parameters)


def _bases(attacks: Mapping[str, AttackSpec] | Sequence[str]) -> dict[str, _Base]:
    """What each name stands for: an attack, or an entry of the roster and how it is changed."""
    specs = attacks if isinstance(attacks, Mapping) else {str(name): {} for name in ensure_tuple(attacks)}
    bases: dict[str, _Base] = {}
    for name, spec in specs.items():
        if isinstance(spec, Attack):
            bases[name] = spec
        elif isinstance(spec, Mapping):
            changes = dict(spec)
            bases[name] = entry_of(changes.pop("attack", name)), changes
        else:
            raise TypeError(f"attacks[{name!r}] must be parameters or an attack, not {type(spec).__name__}.")
    return bases


def _form_for(attack: type[Attack], target: Target) -> type[Attack]:
    """An attack in 3-D or slice by slice, as the target looks at images."""
    if not target.axial:
        return _IN_SPACE.get(attack, attack)
    by_slice = {volumetric: own for own, volumetric in _IN_SPACE.items()}
    return by_slice.get(attack, attack) if target.slicewise else attack


def roster_sweeps(attacks: Mapping[str, AttackSpec] | Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """The budgets that the roster sweeps attacks over."""
    entries = {name: base[0] for name, base in _bases(attacks).items() if not isinstance(base, Attack)}
    return {name: {entry.budget: list(entry.sweep)} for name, entry in entries.items() if entry.budget and entry.sweep}


def join_sweeps(*sweeps: Sweeps) -> dict[str, dict[str, list[float]]]:
    """One set of sweeps from several."""
    joined: dict[str, dict[str, list[float]]] = {}
    for part in sweeps:
        for attack, parameters in part.items():
            for parameter, values in parameters.items():
                known = joined.setdefault(attack, {}).setdefault(parameter, [])
                known += [value for value in values if value not in known]
    return joined


def check_attacks(attacks: Mapping[str, Attack], target: Target, aim: Aim | None) -> None:
    """Refuse attacks that cannot be run."""
    if not attacks:
        raise ValueError("attacks is empty: name at least one.")
    if two := same_name(list(attacks)):
        raise ValueError(
            f"attack name {list(attacks)[two[1]]!r} is there twice but for letter case, which some file systems ignore."
        )
    roi_size = target.windows.roi_size
    window = ensure_tuple_rep(roi_size, target.spatial_dims if isinstance(roi_size, int) else len(roi_size))
    for name, attack in attacks.items():
        if name.casefold() in (CLEAN, LABEL) or not name.translate(dict.fromkeys(map(ord, "-_."))).isalnum():
            raise ValueError(
                f"attack name {name!r} must be made of letters, digits, -, _ and ., and not be {CLEAN!r} or {LABEL!r}."
            )
        if attack.targeted and aim is None:
            raise ValueError(f"attack {name!r} is targeted, so aim must say what it aims at, e.g. EraseClass(1).")
        if attack.targeted and (highest := max(getattr(aim, "classes", [0]))) >= len(target.class_names):
            raise ValueError(
                f"aim={type(aim).__name__} names class {highest}, but the network knows 0 to "
                f"{len(target.class_names) - 1} ({', '.join(target.class_names)})."
            )
        if min(window) > 0:
            attack.check_image((1, 1, *window))
