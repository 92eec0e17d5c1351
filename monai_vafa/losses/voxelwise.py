# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Losses of segmentation attacks: each voxel's cross entropy, weighted by how right or wrong that voxel is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch.nn.modules.loss import _Loss

__all__ = ["CosPGDLoss", "JensenShannonLoss", "MaskedCrossEntropyLoss", "SegPGDLoss"]


class _VoxelwiseLoss(_Loss, ABC):
    """Mean over all voxels of a weight, held constant in the backward pass, times the cross entropy."""

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """
        Args:
            logits: ``(B, classes, *spatial)``, 2 classes or more.
            label: class map ``(B, 1, *spatial)``.

        Raises:
            ValueError: When the logits have one class only, or the label is no class map.
        """
        label = _class_map(logits, label)
        weight = self._weight(logits.detach(), label)
        return (weight * F.cross_entropy(logits, label, reduction="none")).mean()

    @abstractmethod
    def _weight(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Weight of each voxel ``(B, *spatial)``."""


class SegPGDLoss(_VoxelwiseLoss):
    """
    Cross entropy that weights correct and wrong voxels apart: 1 - ``wrong_weight`` and ``wrong_weight``.

    Gu et al., "SegPGD: An Effective and Efficient Adversarial Attack for Evaluating and Boosting Segmentation
    Robustness", ECCV 2022 (arXiv 2207.12391), Eq. 4.

    Args:
        wrong_weight: lambda, in [0, 1].

    Raises:
        ValueError: When ``wrong_weight`` is out of range.
    """

    def __init__(self, wrong_weight: float = 0.5) -> None:
        super().__init__()
        if not 0 <= wrong_weight <= 1:
            raise ValueError(f"wrong_weight={wrong_weight} must be in [0, 1].")
        self.wrong_weight = float(wrong_weight)

    def _weight(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return torch.where(_correct(logits, label), 1 - self.wrong_weight, self.wrong_weight)


class CosPGDLoss(_VoxelwiseLoss):
    """
    Cross entropy weighted by the cosine between softmax and one-hot label; targeted: by 1 - cosine.

    Agnihotri, Jung, Keuper, "CosPGD: an efficient white-box adversarial attack for pixel-wise prediction tasks",
    ICML 2024 (arXiv 2302.02213).

    Args:
        targeted: the loss will be descended towards a wanted label.
    """

    def __init__(self, targeted: bool = False) -> None:
        super().__init__()
        self.targeted = targeted

    def _weight(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        probabilities = logits.softmax(1)
        # The one-hot label picks one entry of the softmax and has length 1.
        cosine = probabilities.gather(1, label[:, None])[:, 0] / probabilities.norm(dim=1)
        return 1 - cosine if self.targeted else cosine


class MaskedCrossEntropyLoss(_VoxelwiseLoss):
    """
    Cross entropy of the voxels that are still correct, divided by the number of all voxels.

    Croce, Singh, Hein, "Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models",
    ECCV 2024 (arXiv 2306.12941): the masked cross entropy of its ensemble SEA.
    """

    def _weight(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return _correct(logits, label).to(logits.dtype)


class JensenShannonLoss(_Loss):
    """
    Jensen-Shannon divergence between softmax and one-hot label, mean over voxels, in [0, log 2].

    Of the same ensemble SEA as :class:`MaskedCrossEntropyLoss`. Its gradient fades at voxels that are very wrong.
    """

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """
        Args:
            logits: ``(B, classes, *spatial)``, 2 classes or more.
            label: class map ``(B, 1, *spatial)``.

        Raises:
            ValueError: When the logits have one class only, or the label is no class map.
        """
        log_p = -F.cross_entropy(logits, _class_map(logits, label), reduction="none")
        # Against a one-hot vector the divergence depends on the probability p of the label alone.
        p = log_p.exp()
        return (math.log(2) + 0.5 * (p * log_p - (1 + p) * torch.log1p(p))).mean()


def _class_map(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    if logits.shape[1] < 2:
        raise ValueError(f"logits have {logits.shape[1]} channel; this loss compares 2 classes or more.")
    if label.shape[1] != 1:
        raise ValueError(f"label has {label.shape[1]} channels; this loss takes a class map with one.")
    return label[:, 0].long()


def _correct(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    # gather and amax, since argmax over classes is several times slower on the CPU
    return logits.gather(1, label[:, None])[:, 0] == logits.amax(1)
