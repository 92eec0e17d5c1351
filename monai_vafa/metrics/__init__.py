# SPDX-License-Identifier: Apache-2.0
"""Metrics that MONAI lacks."""

from __future__ import annotations

from .distortion import changed_voxel_rate, linf_distance, rmse_distance
from .lpips import LPIPSMetric
from .slices import SliceSimilarityMetric
from .ssim import FittingSSIMMetric
from .trunk import TrunkUnavailable, fetch_trunk

__all__ = [
    "FittingSSIMMetric",
    "LPIPSMetric",
    "SliceSimilarityMetric",
    "TrunkUnavailable",
    "changed_voxel_rate",
    "fetch_trunk",
    "linf_distance",
    "rmse_distance",
]
