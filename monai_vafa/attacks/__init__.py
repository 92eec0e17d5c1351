# SPDX-License-Identifier: Apache-2.0
"""Batch-first attacks on segmentation networks."""

from __future__ import annotations

from .auto_pgd import AutoPGD
from .base import Attack, AttackResult
from .controls import BandDrop, GaussianNoise, QuantizeOnly, RescaleOnly
from .diverse_inputs import DiverseInputsIterative
from .gradient import IterativeAttack, Perturbation
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
from .roster import ROSTER, RosterEntry, entry_of, register
from .sa2 import SliceSpectrumAdversarialAttack, SpectrumAdversarialAttack
from .sliding_window import SlidingWindowAttack
from .spectrum import CoefficientAttack, PerceptualFrequencyAttack
from .square import SquareAttack
from .ssa import SpectrumSimulationAttack
from .targets import EraseClass, SwapClasses
from .universal import UniversalPerturbation, UniversalTraining
from .vafa import SliceFrequencyAttack, VolumetricFrequencyAttack

__all__ = [
    "ROSTER",
    "Attack",
    "AttackResult",
    "AutoPGD",
    "BandDrop",
    "BasicIterative",
    "CoefficientAttack",
    "CosPGD",
    "DiverseInputsIterative",
    "EraseClass",
    "FastGradientSign",
    "GaussianNoise",
    "IterativeAttack",
    "MinimalNormAttack",
    "MomentumIterative",
    "PerceptualFrequencyAttack",
    "Perturbation",
    "ProjectedAdam",
    "ProjectedGradientDescent",
    "QuantizeOnly",
    "RescaleOnly",
    "RosterEntry",
    "SegPGD",
    "SliceFrequencyAttack",
    "SliceSpectrumAdversarialAttack",
    "SlidingWindowAttack",
    "SpectrumAdversarialAttack",
    "SpectrumSimulationAttack",
    "SquareAttack",
    "SwapClasses",
    "TsallisPGD",
    "UniversalPerturbation",
    "UniversalTraining",
    "VolumetricFrequencyAttack",
    "entry_of",
    "register",
]
