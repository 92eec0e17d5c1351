# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Every attack that configs, the benchmark, transforms and reports know, registered once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monai_vafa.losses import JensenShannonLoss

from .auto_pgd import AutoPGD
from .base import Attack
from .coefficients import CoefficientAttack
from .controls import GaussianNoise, QuantizeOnly, RescaleOnly
from .momentum import MomentumIterative
from .perceptual import PerceptualFrequencyAttack
from .segmentation import CosPGD, SegPGD
from .square import SquareAttack
from .vafa import SliceFrequencyAttack, VolumetricFrequencyAttack
from .voxel import BasicIterative, FastGradientSign, ProjectedGradientDescent

__all__ = ["ROSTER", "RosterEntry", "entry_of", "register"]


@dataclass(frozen=True)
class RosterEntry:
    """
    An attack with its parameters, under the name that its rows have in tables.

    Args:
        name: name of the row, such as ``"pgd"``.
        attack: class of the attack; it also says whether it is a control and which parameter bounds it.
        parameters: what differs from the defaults of the class.
        sweep: values of the budget that the benchmark runs beside the one of the row itself.
        transform: name of the array transform of ``attack``, ``"PGD"`` for ``PGD`` and ``PGDd``; ``None`` has none.
        color: how its curve is drawn, for matplotlib.
        marker: likewise.
        linestyle: likewise.
        reference: authors, year and where it was published.
    """

    name: str
    attack: type[Attack]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sweep: tuple[float, ...] = ()
    transform: str | None = None
    color: str = "black"
    marker: str = "o"
    linestyle: str = "-"
    reference: str = ""

    @property
    def control(self) -> bool:
        """Whether it never asks the network."""
        return self.attack.control

    @property
    def budget(self) -> str | None:
        """Name of the parameter that bounds the change; ``None`` if there is none."""
        return self.attack.budget

    def build(self, **parameters: Any) -> Attack:
        """
        Make the attack.

        Args:
            parameters: parameters of the class that take precedence over those of the entry.

        Raises:
            TypeError: If the class has no such parameter.
            ValueError: If a value is out of range.
        """
        return self.attack(**{**self.parameters, **parameters})


ROSTER: dict[str, RosterEntry] = {}
"""All entries by name, in the order of tables."""


def register(entry: RosterEntry) -> RosterEntry:
    """
    Add an attack to the roster.

    Args:
        entry: what to add.

    Returns:
        the entry.

    Raises:
        ValueError: If its name, or the name of its transform, is taken.
    """
    if entry.name in ROSTER:
        raise ValueError(f"name={entry.name!r} is in the roster already: {ROSTER[entry.name]}.")
    if entry.transform is not None and any(other.transform == entry.transform for other in ROSTER.values()):
        raise ValueError(f"transform={entry.transform!r} is in the roster already; choose another name, or None.")
    ROSTER[entry.name] = entry
    return entry


def entry_of(name: str) -> RosterEntry:
    """
    The entry with a name.

    Args:
        name: name of a row.

    Raises:
        ValueError: If there is none; suggests names that are close.
    """
    if name not in ROSTER:
        close = difflib.get_close_matches(name, ROSTER)
        hint = f"did you mean {' or '.join(map(repr, close))}" if close else f"choose from {', '.join(ROSTER)}"
        raise ValueError(f"{name!r} is not in the roster of attacks: {hint}?")
    return ROSTER[name]


_CONTROL: dict[str, Any] = {"color": "0.5", "linestyle": ":"}
_HANIF = "Hanif et al., MICCAI 2023"

for _entry in (
    RosterEntry("quantize_only", QuantizeOnly, sweep=(10, 40), marker="o", **_CONTROL),
    RosterEntry("rescale_only", RescaleOnly, marker="s", **_CONTROL),
    RosterEntry("gn", GaussianNoise, sweep=(2, 8, 16), transform="GN", marker="D", **_CONTROL),
    RosterEntry(
        "fgsm",
        FastGradientSign,
        sweep=(2, 8, 16),
        transform="FGSM",
        color="tab:cyan",
        marker="v",
        reference="Goodfellow, Shlens, Szegedy, ICLR 2015, arXiv 1412.6572",
    ),
    RosterEntry(
        "bim",
        BasicIterative,
        sweep=(2, 8),
        transform="BIM",
        color="tab:blue",
        marker="s",
        linestyle="--",
        reference="Kurakin, Goodfellow, Bengio, ICLR workshop 2017, arXiv 1607.02533",
    ),
    RosterEntry(
        "pgd",
        ProjectedGradientDescent,
        sweep=(2, 8),
        transform="PGD",
        color="tab:blue",
        reference="Madry et al., ICLR 2018, arXiv 1706.06083",
    ),
    RosterEntry(
        "mifgsm",
        MomentumIterative,
        sweep=(2, 8),
        transform="MIFGSM",
        color="tab:cyan",
        marker="^",
        linestyle="--",
        reference="Dong et al., CVPR 2018, arXiv 1710.06081",
    ),
    RosterEntry(
        "pgd_upstream",
        ProjectedGradientDescent,
        {"recipe": "upstream"},
        sweep=(2, 8),
        color="tab:blue",
        marker="D",
        linestyle="-.",
        reference=f"{_HANIF}, released code",
    ),
    RosterEntry(
        "segpgd",
        SegPGD,
        {"restarts": 1},
        sweep=(2, 8),
        transform="SegPGD",
        color="tab:olive",
        marker="P",
        reference="Gu et al., ECCV 2022, arXiv 2207.12391",
    ),
    RosterEntry(
        "cospgd",
        CosPGD,
        {"restarts": 1},
        sweep=(2, 8),
        transform="CosPGD",
        color="tab:olive",
        marker="X",
        linestyle="--",
        reference="Agnihotri, Jung, Keuper, ICML 2024, arXiv 2302.02213",
    ),
    RosterEntry(
        "apgd_masked_ce",
        AutoPGD,
        sweep=(2, 8),
        transform="APGD",
        color="tab:purple",
        marker="p",
        reference="Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941",
    ),
    RosterEntry(
        "apgd_jsd",
        AutoPGD,
        {"loss": JensenShannonLoss()},
        sweep=(2, 8),
        color="tab:purple",
        marker="h",
        linestyle="--",
        reference="Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941",
    ),
    RosterEntry(
        "square",
        SquareAttack,
        {"steps": 100},
        sweep=(2, 8),
        transform="Square",
        color="tab:brown",
        marker="s",
        reference="Andriushchenko et al., ECCV 2020, arXiv 1912.00049",
    ),
    RosterEntry(
        "vafa2d",
        SliceFrequencyAttack,
        {"steps": 10},
        sweep=(10, 40),
        color="tab:orange",
        marker="^",
        reference=f"{_HANIF}; Duan et al., ICCV 2021",
    ),
    RosterEntry(
        "vafa",
        VolumetricFrequencyAttack,
        sweep=(10, 40),
        transform="VAFA",
        color="tab:red",
        reference=_HANIF,
    ),
    RosterEntry(
        "vafa_no_rescale",
        VolumetricFrequencyAttack,
        {"rescale_slices": False},
        sweep=(10, 60),
        color="tab:red",
        marker="D",
        linestyle="--",
        reference=f"{_HANIF}, without stretching slices",
    ),
    RosterEntry("coefficient", CoefficientAttack, sweep=(2, 8), color="tab:pink", marker="P", reference="this package"),
    RosterEntry(
        "pfa",
        PerceptualFrequencyAttack,
        sweep=(2, 8, 16),
        transform="PFA",
        color="tab:green",
        marker="*",
        reference="this package",
    ),
):
    register(_entry)
