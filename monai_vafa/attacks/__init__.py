# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Batch-first attacks on segmentation networks."""

from __future__ import annotations

from .base import Attack, AttackResult
from .controls import GaussianNoise, QuantizeOnly, RescaleOnly
from .iterative import IterativeAttack, Perturbation
from .momentum import MomentumIterative
from .segmentation import CosPGD, SegPGD
from .targets import EraseClass, SwapClasses
from .vafa import SliceFrequencyAttack, VolumetricFrequencyAttack
from .voxel import BasicIterative, FastGradientSign, ProjectedGradientDescent
from .windows import SlidingWindowAttack

__all__ = [
    "Attack",
    "AttackResult",
    "BasicIterative",
    "CosPGD",
    "EraseClass",
    "FastGradientSign",
    "GaussianNoise",
    "IterativeAttack",
    "MomentumIterative",
    "Perturbation",
    "ProjectedGradientDescent",
    "QuantizeOnly",
    "RescaleOnly",
    "SegPGD",
    "SliceFrequencyAttack",
    "SlidingWindowAttack",
    "SwapClasses",
    "VolumetricFrequencyAttack",
]
