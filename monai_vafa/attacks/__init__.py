# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Batch-first attacks on segmentation networks."""

from __future__ import annotations

from .base import Attack, AttackResult
from .controls import QuantizeOnly, RescaleOnly
from .iterative import IterativeAttack, Perturbation
from .targets import EraseClass, SwapClasses
from .vafa import SliceFrequencyAttack, VolumetricFrequencyAttack
from .windows import SlidingWindowAttack

__all__ = [
    "Attack",
    "AttackResult",
    "EraseClass",
    "IterativeAttack",
    "Perturbation",
    "QuantizeOnly",
    "RescaleOnly",
    "SliceFrequencyAttack",
    "SlidingWindowAttack",
    "SwapClasses",
    "VolumetricFrequencyAttack",
]
