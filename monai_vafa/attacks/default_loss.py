# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The losses that the released code and the paper attack with."""

from __future__ import annotations

from typing import Any

from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss

__all__ = ["dice_ce_loss", "dice_loss"]

_DICE: dict[str, Any] = {"squared_pred": True, "smooth_nr": 0.0, "smooth_dr": 1e-6}
_ACTIVATIONS: dict[str, dict[str, Any]] = {
    "softmax": {**_DICE, "to_onehot_y": True, "softmax": True},
    "sigmoid": {**_DICE, "sigmoid": True},
}


def dice_ce_loss(activation: str = "softmax") -> DiceCELoss | DiceFocalLoss:
    """
    Dice + cross entropy, as in the authors' released code; of sigmoid outputs the binary one of each class.

    Args:
        activation: ``"softmax"`` or ``"sigmoid"``.
    """
    if activation == "softmax":
        return DiceCELoss(**_ACTIVATIONS[activation])
    # DiceCELoss(sigmoid=True) has the sigmoid in its Dice only: several channels share a softmax in its cross entropy.
    # The focal loss without its focus is the binary cross entropy.
    return DiceFocalLoss(**_ACTIVATIONS[activation], gamma=0.0)


def dice_loss(activation: str = "softmax") -> DiceLoss:
    """
    Soft Dice, as in the paper's Algorithm 1.

    Args:
        activation: ``"softmax"`` or ``"sigmoid"``.
    """
    return DiceLoss(**_ACTIVATIONS[activation])
