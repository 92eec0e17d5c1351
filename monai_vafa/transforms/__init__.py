# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Attacks and frequency corruptions as MONAI transforms."""

from __future__ import annotations

from .array import VAFA, AttackTransform, FrequencyQuantize, RandFrequencyQuantize
from .dictionary import (
    VAFAD,
    AttackTransformD,
    AttackTransformd,
    AttackTransformDict,
    FrequencyQuantizeD,
    FrequencyQuantized,
    FrequencyQuantizeDict,
    RandFrequencyQuantizeD,
    RandFrequencyQuantized,
    RandFrequencyQuantizeDict,
    VAFAd,
    VAFADict,
)

__all__ = [
    "VAFA",
    "VAFAD",
    "AttackTransform",
    "AttackTransformD",
    "AttackTransformDict",
    "AttackTransformd",
    "FrequencyQuantize",
    "FrequencyQuantizeD",
    "FrequencyQuantizeDict",
    "FrequencyQuantized",
    "RandFrequencyQuantize",
    "RandFrequencyQuantizeD",
    "RandFrequencyQuantizeDict",
    "RandFrequencyQuantized",
    "VAFADict",
    "VAFAd",
]
