# SPDX-License-Identifier: Apache-2.0
"""Losses that MONAI lacks."""

from __future__ import annotations

from .frequency_consistency import FrequencyConsistencyLoss
from .segmentation import DiceCrossEntropyLoss, SegmentationLoss, SoftDiceLoss
from .structural_similarity import BlockSSIMLoss
from .voxelwise import CosineLoss, CosPGDLoss, JensenShannonLoss, MaskedCrossEntropyLoss, SegPGDLoss, TsallisLoss

__all__ = [
    "BlockSSIMLoss",
    "CosPGDLoss",
    "CosineLoss",
    "DiceCrossEntropyLoss",
    "FrequencyConsistencyLoss",
    "JensenShannonLoss",
    "MaskedCrossEntropyLoss",
    "SegPGDLoss",
    "SegmentationLoss",
    "SoftDiceLoss",
    "TsallisLoss",
]
