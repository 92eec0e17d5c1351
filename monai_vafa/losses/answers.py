# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""How well the logits of a batch agree with its label, voxel by voxel."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F

from monai_vafa.outputs import check_channels

__all__ = ["Answers", "voxel_answers"]


class Answers(ABC):
    """
    How well the logits of a batch answer its label, voxel by voxel.

    Args:
        logits: ``(B, classes, *spatial)``.
        label: the class of each voxel, or of each voxel the 0 or 1 of each class.
    """

    def __init__(self, logits: torch.Tensor, label: torch.Tensor) -> None:
        self._logits = logits
        self._label = label

    @abstractmethod
    def cross_entropy(self, reduction: str = "none") -> torch.Tensor:
        """Minus the logarithm of the probability of what the label says, one for each answer, or their mean."""

    @abstractmethod
    def correct(self) -> torch.Tensor:
        """Whether the network says what the label says, bool; ties count as said."""

    @abstractmethod
    def cosine(self) -> torch.Tensor:
        """Cosine between the network's probabilities and those of the label, in [0, 1]."""


class _Softmax(Answers):
    """An answer for each voxel, ``(B, *spatial)``."""

    def cross_entropy(self, reduction: str = "none") -> torch.Tensor:
        return F.cross_entropy(self._logits, self._label, reduction=reduction)

    def correct(self) -> torch.Tensor:
        # gather and amax, since argmax over classes is several times slower on the CPU
        return self._of_label(self._logits) == self._logits.amax(1)

    def cosine(self) -> torch.Tensor:
        probabilities = self._logits.softmax(1)
        # The one-hot label picks one entry of the softmax and has length 1.
        return self._of_label(probabilities) / probabilities.norm(dim=1)

    def _of_label(self, channels: torch.Tensor) -> torch.Tensor:
        return channels.gather(1, self._label[:, None])[:, 0]


class _Sigmoid(Answers):
    """
    An answer for each class of each voxel, ``(B, classes, *spatial)``: a Bernoulli variable.

    That is a softmax over the two classes absent and present: ``softmax((0, z)) = (1 - sigmoid(z), sigmoid(z))``.
    """

    def cross_entropy(self, reduction: str = "none") -> torch.Tensor:
        label = self._label.to(self._logits.dtype)
        return F.binary_cross_entropy_with_logits(self._logits, label, reduction=reduction)

    def correct(self) -> torch.Tensor:
        return self._towards_label() >= 0

    def cosine(self) -> torch.Tensor:
        p = self._towards_label().sigmoid()
        return p / torch.hypot(p, 1 - p)

    def _towards_label(self) -> torch.Tensor:
        """Logits, with their sign changed where the label says 0."""
        return torch.where(self._label > 0, self._logits, -self._logits)


def voxel_answers(logits: torch.Tensor, label: torch.Tensor, activation: str) -> Answers:
    """
    Compare logits with a label.

    Args:
        logits: ``(B, classes, *spatial)``; for softmax 2 classes or more.
        label: softmax: class map ``(B, 1, *spatial)``; sigmoid: 0 and 1, like ``logits``.
        activation: ``"softmax"`` or ``"sigmoid"``.

    Raises:
        ValueError: When the number of channels is another.
    """
    if activation == "sigmoid":
        check_channels(label, logits.shape[1])
        return _Sigmoid(logits, label)
    if logits.shape[1] < 2:
        raise ValueError(
            f"logits have {logits.shape[1]} channel; this loss compares 2 classes or more, or takes "
            "activation='sigmoid'."
        )
    if label.shape[1] != 1:
        raise ValueError(
            f"label has {label.shape[1]} channels; this loss takes a class map with one, or activation='sigmoid'."
        )
    return _Softmax(logits, label[:, 0].long())
