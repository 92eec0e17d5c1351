# SPDX-License-Identifier: Apache-2.0
"""Ignite handlers for MONAI's engines: attack every batch, train with VAFT, seed every epoch, keep checkpoints."""

from __future__ import annotations

from .attack import AttackHandler
from .checkpoint import TrainingCheckpoint
from .epoch_seed import EpochSeedHandler
from .progress import TrainingProgress
from .vaft import VAFTHandler, vaft_losses

__all__ = ["AttackHandler", "EpochSeedHandler", "TrainingCheckpoint", "TrainingProgress", "VAFTHandler", "vaft_losses"]
