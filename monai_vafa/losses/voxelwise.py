# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""
Losses of segmentation attacks: each voxel's cross entropy, weighted by how right or wrong that voxel is.

All are defined for softmax. With ``activation="sigmoid"`` each class of a voxel is a Bernoulli variable, a choice
between absent and present, and takes the formula with these two classes; the mean is then over voxels and classes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch.nn.modules.loss import _Loss

from monai_vafa.outputs import check_activation

from .answers import Answers, voxel_answers

__all__ = ["CosPGDLoss", "JensenShannonLoss", "MaskedCrossEntropyLoss", "SegPGDLoss"]


class _VoxelwiseLoss(_Loss, ABC):
    """
    Mean over all voxels of a weight, held constant in the backward pass, times the cross entropy.

    Args:
        activation: ``"softmax"``, or ``"sigmoid"`` for classes that may overlap.

    Raises:
        ValueError: When ``activation`` is unknown.
    """

    def __init__(self, *, activation: str = "softmax") -> None:
        super().__init__()
        self.activation = check_activation(activation)

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """
        Args:
            logits: ``(B, classes, *spatial)``; for softmax 2 classes or more.
            label: softmax: class map ``(B, 1, *spatial)``; sigmoid: 0 and 1, like ``logits``.

        Raises:
            ValueError: When the numbers of channels don't fit the activation.
        """
        answers = voxel_answers(logits, label, self.activation)
        with torch.no_grad():
            weight = self._weight(answers)
        return (weight * answers.cross_entropy()).mean()

    @abstractmethod
    def _weight(self, answers: Answers) -> torch.Tensor:
        """Weight of each answer."""


class SegPGDLoss(_VoxelwiseLoss):
    """
    Cross entropy that weights correct and wrong voxels apart: 1 - ``wrong_weight`` and ``wrong_weight``.

    Gu et al., "SegPGD: An Effective and Efficient Adversarial Attack for Evaluating and Boosting Segmentation
    Robustness", ECCV 2022 (arXiv 2207.12391), Eq. 4.

    Args:
        wrong_weight: lambda, in [0, 1].
        activation: ``"softmax"``, or ``"sigmoid"``: a class of a voxel is correct where its logit has the right sign.

    Raises:
        ValueError: When ``wrong_weight`` is out of range or ``activation`` unknown.
    """

    def __init__(self, wrong_weight: float = 0.5, *, activation: str = "softmax") -> None:
        super().__init__(activation=activation)
        if not 0 <= wrong_weight <= 1:
            raise ValueError(f"wrong_weight={wrong_weight} must be in [0, 1].")
        self.wrong_weight = float(wrong_weight)

    def _weight(self, answers: Answers) -> torch.Tensor:
        return torch.where(answers.correct(), 1 - self.wrong_weight, self.wrong_weight)


class CosPGDLoss(_VoxelwiseLoss):
    """
    Cross entropy weighted by the cosine between softmax and one-hot label; targeted: by 1 - cosine.

    Agnihotri, Jung, Keuper, "CosPGD: an efficient white-box adversarial attack for pixel-wise prediction tasks",
    ICML 2024 (arXiv 2302.02213).

    Args:
        targeted: the loss will be descended towards a wanted label.
        activation: ``"softmax"``, or ``"sigmoid"``: with ``p`` the probability of what the label says of a class of a
            voxel, the cosine is ``p / sqrt(p^2 + (1 - p)^2)``.

    Raises:
        ValueError: When ``activation`` is unknown.
    """

    def __init__(self, targeted: bool = False, *, activation: str = "softmax") -> None:
        super().__init__(activation=activation)
        self.targeted = targeted

    def _weight(self, answers: Answers) -> torch.Tensor:
        cosine = answers.cosine()
        return 1 - cosine if self.targeted else cosine


class MaskedCrossEntropyLoss(_VoxelwiseLoss):
    """
    Cross entropy of the voxels that are still correct, divided by the number of all voxels.

    Croce, Singh, Hein, "Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models",
    ECCV 2024 (arXiv 2306.12941): the masked cross entropy of its ensemble SEA.

    Args:
        activation: ``"softmax"``, or ``"sigmoid"``: the binary cross entropy of the classes of a voxel that are still
            correct, divided by the number of all voxels and classes.

    Raises:
        ValueError: When ``activation`` is unknown.
    """

    def _weight(self, answers: Answers) -> torch.Tensor:
        return answers.correct().float()


class JensenShannonLoss(_Loss):
    """
    Jensen-Shannon divergence between softmax and one-hot label, mean over voxels, in [0, log 2].

    Of the same ensemble SEA as :class:`MaskedCrossEntropyLoss`. Its gradient fades at voxels that are very wrong.

    Args:
        activation: ``"softmax"``, or ``"sigmoid"``: the divergence between the two Bernoulli variables of each class
            of a voxel.

    Raises:
        ValueError: When ``activation`` is unknown.
    """

    def __init__(self, *, activation: str = "softmax") -> None:
        super().__init__()
        self.activation = check_activation(activation)

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """
        Args:
            logits: ``(B, classes, *spatial)``; for softmax 2 classes or more.
            label: softmax: class map ``(B, 1, *spatial)``; sigmoid: 0 and 1, like ``logits``.

        Raises:
            ValueError: When the numbers of channels don't fit the activation.
        """
        log_p = -voxel_answers(logits, label, self.activation).cross_entropy()
        # Against a one-hot vector the divergence depends on the probability p of the label alone.
        p = log_p.exp()
        return (math.log(2) + 0.5 * (p * log_p - (1 + p) * torch.log1p(p))).mean()
