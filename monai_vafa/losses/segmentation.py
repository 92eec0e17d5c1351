# SPDX-License-Identifier: Apache-2.0
"""Segmentation losses that take the activation of the attack they serve, and the Dice losses of the paper."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any

import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss
from torch.nn.modules.loss import _Loss

from monai_vafa.frequency.precision import full_precision
from monai_vafa.outputs import Activation, check_activation, check_channels, check_tensor

_DICE: dict[str, Any] = {"squared_pred": True, "smooth_nr": 0.0, "smooth_dr": 1e-6}
_ACTIVATIONS: dict[Activation, dict[str, Any]] = {
    "softmax": {**_DICE, "to_onehot_y": True, "softmax": True},
    "sigmoid": {**_DICE, "sigmoid": True},
}
_SOFT_DICE = {activation: DiceLoss(**given) for activation, given in _ACTIVATIONS.items()}
# DiceCELoss(sigmoid=True) applies the sigmoid to its Dice only; its cross entropy of several channels is a softmax. The
# focal loss without focus is the binary cross entropy.
_DICE_CROSS_ENTROPY: dict[Activation, _Loss] = {
    "softmax": DiceCELoss(**_ACTIVATIONS["softmax"]),
    "sigmoid": DiceFocalLoss(**_ACTIVATIONS["sigmoid"], gamma=0.0),
}


class SegmentationLoss(_Loss):
    """
    Base of the losses that compare logits with a label and return a scalar, float32 or wider also under autocast.

    Args:
        activation: ``"softmax"``, or ``"sigmoid"`` for classes that may overlap. ``None``: that of the attack that
            uses the loss, and softmax when the loss is called by itself.

    Raises:
        ValueError: If ``activation`` is unknown.
    """

    def __init__(self, *, activation: Activation | None = None) -> None:
        super().__init__()
        self.activation = None if activation is None else check_activation(activation)

    def for_activation(self, activation: Activation) -> SegmentationLoss:
        """The loss with this activation, unless it was given its own."""
        if self.activation is not None:
            return self
        loss = copy.copy(self)
        loss.activation = activation
        return loss

    @full_precision
    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """
        Loss of a batch.

        Args:
            input: logits ``(B, classes, *spatial)``; with softmax, 2 classes or more.
            target: softmax: class map ``(B, 1, *spatial)``; sigmoid: 0 and 1, like ``input``.

        Raises:
            TypeError: If one is not a tensor, or the logits are not floating.
            ValueError: If logits, label and activation do not fit together, or the label holds no class.
        """
        check_tensor("input (logits)", input, floating=True)
        check_tensor("target (label)", target)
        activation, classes = self.activation or "softmax", input.shape[1]
        if activation == "sigmoid":
            check_channels(target, classes)
        elif classes < 2 or target.shape[1] != 1:
            raise ValueError(
                f"logits have {classes} channel(s) and label has {target.shape[1]} channels, but this loss compares 2 "
                "classes or more with a class map; for one class, or some that may overlap, use activation='sigmoid'."
            )
        if target.shape[2:] != input.shape[2:] or len(target) != len(input):
            raise ValueError(f"label of shape {tuple(target.shape)} does not fit logits of {tuple(input.shape)}.")
        highest = 1 if activation == "sigmoid" else classes - 1
        for value in torch.aminmax(target):
            if not 0 <= value <= highest:
                raise ValueError(f"label holds {float(value):g}, but the loss with {activation} takes 0 to {highest}.")
        return self._of(input, target.to(input.dtype if activation == "sigmoid" else torch.long), activation)

    @abstractmethod
    def _of(self, logits: torch.Tensor, label: torch.Tensor, activation: Activation) -> torch.Tensor:
        """Loss of a batch, checked: logits in float32 or wider, label in int64, with sigmoid like the logits."""


class DiceCrossEntropyLoss(SegmentationLoss):
    """
    Dice + cross entropy, as in the authors' released code; with sigmoid, the binary cross entropy of each class.

    All parameters: see :class:`SegmentationLoss`.
    """

    def _of(self, logits: torch.Tensor, label: torch.Tensor, activation: Activation) -> torch.Tensor:
        return _DICE_CROSS_ENTROPY[activation](logits, label)


class SoftDiceLoss(SegmentationLoss):
    """Soft Dice, as in the paper's Algorithm 1; all parameters: see :class:`SegmentationLoss`."""

    def _of(self, logits: torch.Tensor, label: torch.Tensor, activation: Activation) -> torch.Tensor:
        return _SOFT_DICE[activation](logits, label)
