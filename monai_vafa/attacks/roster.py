# SPDX-License-Identifier: Apache-2.0
"""The attacks that configs, the benchmark, transforms and reports know by name, each registered once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monai_vafa.losses import CosineLoss, DiceCrossEntropyLoss, JensenShannonLoss, MaskedCrossEntropyLoss

from .auto_pgd import AutoPGD
from .base import Attack
from .controls import BandDrop, GaussianNoise, QuantizeOnly, RescaleOnly
from .diverse_inputs import DiverseInputsIterative
from .minimal_norm import MinimalNormAttack
from .padam import ProjectedAdam
from .pgd import (
    BasicIterative,
    CosPGD,
    FastGradientSign,
    MomentumIterative,
    ProjectedGradientDescent,
    SegPGD,
    TsallisPGD,
)
from .sa2 import SliceSpectrumAdversarialAttack, SpectrumAdversarialAttack
from .spectrum import CoefficientAttack, PerceptualFrequencyAttack
from .square import SquareAttack
from .ssa import SpectrumSimulationAttack
from .universal import UniversalPerturbation
from .vafa import SliceFrequencyAttack, VolumetricFrequencyAttack


@dataclass(frozen=True)
class RosterEntry:
    """An attack with its parameters, under the name that its rows have in tables."""

    name: str  # of the row, such as "pgd"
    attack: type[Attack]  # it also says whether it is a control and which parameter bounds it
    parameters: Mapping[str, Any] = field(default_factory=dict)  # what differs from the defaults of the class
    sweep: tuple[float, ...] = ()  # values of the budget that the benchmark runs beside the row's own
    transform: str | None = None  # name of its transforms, "PGD" for PGD and PGDd; None for none
    color: str = "black"  # of its curve, as matplotlib names it, like the next two
    marker: str = "o"
    linestyle: str = "-"
    reference: str = ""  # authors, venue and year

    @property
    def control(self) -> bool:
        """Whether it never asks the network."""
        return self.attack.control

    @property
    def budget(self) -> str | None:
        """Name of the parameter that bounds the change; ``None`` if there is none."""
        return self.attack.budget

    def build(self, **parameters: Any) -> Attack:
        """Make the attack; ``parameters`` take precedence over those of the entry."""
        return self.attack(**{**self.parameters, **parameters})


ROSTER: dict[str, RosterEntry] = {}
"""All entries by name, in the order of tables."""


def register(entry: RosterEntry) -> RosterEntry:
    """
    Add an attack to the roster, and return it as it is.

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
    Look up an attack by its name in the roster.

    Raises:
        ValueError: If there is none; suggests names that are close.
    """
    if name == "universal" and name not in ROSTER:  # it needs a file, so no list of all attacks has it
        return RosterEntry(name, UniversalPerturbation, reference="Shafahi et al., AAAI 2020")
    if name not in ROSTER:
        close = difflib.get_close_matches(str(name), ROSTER)
        hint = f"did you mean {' or '.join(map(repr, close))}" if close else f"choose from {', '.join(ROSTER)}"
        raise ValueError(f"{name!r} is not in the roster of attacks: {hint}?")
    return ROSTER[name]


_VAFA, _SEA, _SA2 = "Hanif et al., MICCAI 2023", "Croce et al., ECCV 2024", "Hanif et al., ISBI 2025"
_SQUARE, _DIVERSE = "Andriushchenko et al., ECCV 2020", "Xie et al., CVPR 2019"
_PROX = "Rony et al., CVPR 2023"
_UPSTREAM, _ONE_START, _JSD = {"recipe": "upstream"}, {"restarts": 1}, {"loss": JensenShannonLoss()}
_NO_RESCALE, _DICE = {"rescale_slices": False}, {"loss": DiceCrossEntropyLoss()}
_BALANCED = {"loss": MaskedCrossEntropyLoss(balanced=True)}
_RSE, _SHORT = "Halmosi et al., ECCV 2024", {"steps": 20}
_COSINE = {**_SHORT, "loss": CosineLoss()}

for _entry in (  # name, attack, parameters, sweep, transform, color, marker, linestyle, reference
    RosterEntry("quantize_only", QuantizeOnly, {}, (10, 40), None, "0.5", "o", ":"),
    RosterEntry("rescale_only", RescaleOnly, {}, (), None, "0.5", "s", ":"),
    RosterEntry("drop_low", BandDrop, {"band": "low"}, (), None, "0.5", "v", ":"),
    RosterEntry("drop_middle", BandDrop, {"band": "middle"}, (), None, "0.5", "P", ":"),
    RosterEntry("drop_high", BandDrop, {"band": "high"}, (), None, "0.5", "^", ":"),
    RosterEntry("gn", GaussianNoise, {}, (2, 8, 16), "GN", "0.5", "D", ":"),
    RosterEntry("fgsm", FastGradientSign, {}, (2, 8, 16), "FGSM", "tab:cyan", "v", "-", "Goodfellow et al., ICLR 2015"),
    RosterEntry("bim", BasicIterative, {}, (2, 8), "BIM", "tab:blue", "s", "--", "Kurakin et al., ICLR workshop 2017"),
    RosterEntry("pgd", ProjectedGradientDescent, {}, (2, 8), "PGD", "tab:blue", "o", "-", "Madry et al., ICLR 2018"),
    RosterEntry("mifgsm", MomentumIterative, {}, (2, 8), "MIFGSM", "tab:cyan", "^", "--", "Dong et al., CVPR 2018"),
    RosterEntry("dimifgsm", DiverseInputsIterative, {}, (2, 8), "DIMIFGSM", "tab:cyan", "D", "-.", _DIVERSE),
    RosterEntry("ssa", SpectrumSimulationAttack, {}, (), "SSA", "tab:cyan", "h", ":", "Long et al., ECCV 2022"),
    RosterEntry("pgd_upstream", ProjectedGradientDescent, _UPSTREAM, (2, 8), None, "tab:blue", "D", "-.", _VAFA),
    RosterEntry("segpgd", SegPGD, _ONE_START, (2, 8), "SegPGD", "tab:olive", "P", "-", "Gu et al., ECCV 2022"),
    RosterEntry("cospgd", CosPGD, _ONE_START, (2, 8), "CosPGD", "tab:olive", "X", "--", "Agnihotri et al., ICML 2024"),
    RosterEntry("tsallispgd", TsallisPGD, _ONE_START, (2, 8), "TsallisPGD", "tab:olive", "d", ":", "arXiv 2605.03405"),
    RosterEntry("apgd_masked_ce", AutoPGD, {}, (2, 8), "APGD", "tab:purple", "p", "-", _SEA),
    RosterEntry("apgd_masked_ce_balanced", AutoPGD, _BALANCED, (2, 8), None, "tab:purple", "H", "-.", _SEA),
    RosterEntry("apgd_jsd", AutoPGD, _JSD, (2, 8), None, "tab:purple", "h", "--", _SEA),
    RosterEntry("apgd_dice", AutoPGD, _DICE, (2, 8), None, "tab:purple", "d", ":", "this package"),
    RosterEntry("padam_ce", ProjectedAdam, _SHORT, (2, 8), "PAdam", "navy", "o", "-", _RSE),
    RosterEntry("padam_cos", ProjectedAdam, _COSINE, (2, 8), None, "navy", "s", "--", _RSE),
    RosterEntry("minimal_linf", MinimalNormAttack, {}, (), "MinimalNorm", "tab:gray", "X", "-", _PROX),
    RosterEntry("minimal_l2", MinimalNormAttack, {"norm": "l2"}, (), None, "tab:gray", "D", "--", _PROX),
    RosterEntry("square", SquareAttack, {"steps": 100}, (2, 8), "Square", "tab:brown", "s", "-", _SQUARE),
    RosterEntry("vafa2d", SliceFrequencyAttack, {"steps": 10}, (10, 40), None, "tab:orange", "^", "-", _VAFA),
    RosterEntry("vafa", VolumetricFrequencyAttack, {}, (10, 40), "VAFA", "tab:red", "o", "-", _VAFA),
    RosterEntry("vafa_no_rescale", VolumetricFrequencyAttack, _NO_RESCALE, (10, 60), None, "tab:red", "D", "--", _VAFA),
    RosterEntry("sa2_2d", SliceSpectrumAdversarialAttack, {}, (0.2,), None, "gold", "^", "-", _SA2),
    RosterEntry("sa2", SpectrumAdversarialAttack, {}, (0.2,), "SA2", "gold", "o", "--", _SA2),
    RosterEntry("coefficient", CoefficientAttack, {}, (2, 8), None, "tab:pink", "P", "-", "this package"),
    RosterEntry("pfa", PerceptualFrequencyAttack, {}, (2, 8, 16), "PFA", "tab:green", "*", "-", "this package"),
):
    register(_entry)
