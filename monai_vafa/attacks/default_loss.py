# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The losses that the released code and the paper attack with."""

from __future__ import annotations

from typing import Any

from monai.losses import DiceCELoss, DiceLoss

__all__ = ["dice_ce_loss", "dice_loss"]

_DICE: dict[str, Any] = {
    "to_onehot_y": True,
    "softmax": True,
    "squared_pred": True,
    "smooth_nr": 0.0,
    "smooth_dr": 1e-6,
}


def dice_ce_loss() -> DiceCELoss:
    """Dice + cross entropy of softmax networks, as in the authors' released code."""
    return DiceCELoss(**_DICE)


def dice_loss() -> DiceLoss:
    """Soft Dice of softmax networks, as in the paper's Algorithm 1."""
    return DiceLoss(**_DICE)
