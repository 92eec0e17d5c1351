# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Data lists: the demo cohort, Synapse, ACDC."""

from __future__ import annotations

from .demo import DEMO_CLASSES, demo_cohort

__all__ = ["DEMO_CLASSES", "demo_cohort"]
