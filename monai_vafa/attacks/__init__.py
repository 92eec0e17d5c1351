# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Batch-first attacks on segmentation networks."""

from __future__ import annotations

from .auto_pgd import AutoPGD
from .base import Attack, AttackResult
from .coefficients import CoefficientAttack
from .controls import GaussianNoise, QuantizeOnly, RescaleOnly
from .iterative import IterativeAttack, Perturbation
from .momentum import MomentumIterative
from .perceptual import PerceptualFrequencyAttack
from .roster import ROSTER, RosterEntry, entry_of, register
from .segmentation import CosPGD, SegPGD
from .square import SquareAttack
from .targets import EraseClass, SwapClasses
from .vafa import SliceFrequencyAttack, VolumetricFrequencyAttack
from .voxel import BasicIterative, FastGradientSign, ProjectedGradientDescent
from .windows import SlidingWindowAttack

__all__ = [
    "ROSTER",
    "Attack",
    "AttackResult",
    "AutoPGD",
    "BasicIterative",
    "CoefficientAttack",
    "CosPGD",
    "EraseClass",
    "FastGradientSign",
    "GaussianNoise",
    "IterativeAttack",
    "MomentumIterative",
    "PerceptualFrequencyAttack",
    "Perturbation",
    "ProjectedGradientDescent",
    "QuantizeOnly",
    "RescaleOnly",
    "RosterEntry",
    "SegPGD",
    "SliceFrequencyAttack",
    "SlidingWindowAttack",
    "SquareAttack",
    "SwapClasses",
    "VolumetricFrequencyAttack",
    "entry_of",
    "register",
]
