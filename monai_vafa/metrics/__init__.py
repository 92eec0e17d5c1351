# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Metrics for adversarial volumes."""

from __future__ import annotations

from .lpips import LPIPSMetric
from .trunk import TrunkUnavailable, fetch_trunk

__all__ = ["LPIPSMetric", "TrunkUnavailable", "fetch_trunk"]
