# SPDX-License-Identifier: Apache-2.0
"""
Losses of segmentation attacks: the cross entropy of each voxel, weighted by how right or wrong that voxel is.

All are defined for softmax. With sigmoid, each class of a voxel is a Bernoulli variable, a choice between absent and
present, and the formula is applied to these two classes; the mean is then over voxels and classes.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Real

import torch
import torch.nn.functional as F

from monai_vafa.outputs import Activation

from .segmentation import SegmentationLoss


class VoxelAnswers:
    """How well logits answer a label in each voxel, ``(B, *spatial)``, or in each class of it, ``(B, C, *spatial)``."""

    def __init__(self, logits: torch.Tensor, label: torch.Tensor, activation: Activation) -> None:
        self.sigmoid = activation == "sigmoid"
        self.logits = logits
        self.label = label if self.sigmoid else label[:, 0]

    def cross_entropy(self) -> torch.Tensor:
        """Minus the log probability of what the label says, one per answer."""
        if self.sigmoid:
            return F.binary_cross_entropy_with_logits(self.logits, self.label, reduction="none")
        return F.cross_entropy(self.logits, self.label, reduction="none")

    def correct(self) -> torch.Tensor:
        """Whether the network says what the label says, bool; ties count as correct."""
        if self.sigmoid:
            return self._towards_label() >= 0
        # gather and amax: argmax over classes is several times slower on a CPU.
        return self._at_label(self.logits) == self.logits.amax(1)

    def cosine(self) -> torch.Tensor:
        """Cosine between the network's probabilities and those of the label, in [0, 1]."""
        if self.sigmoid:
            p = self._towards_label().sigmoid()
            return p / torch.hypot(p, 1 - p)
        probabilities = self.logits.softmax(1)
        # The one-hot label picks one entry of the softmax and has length 1.
        return self._at_label(probabilities) / probabilities.norm(dim=1)

    def balance(self) -> torch.Tensor:
        """Weights, 1 on average, that give equal say to each answer in the label (sigmoid: in one of its classes)."""
        if self.sigmoid:
            present = self.label.mean((0, *range(2, self.label.ndim)), keepdim=True)
            found = 1 + ((present > 0) & (present < 1)).int()
            return 1 / (found * torch.where(self.label > 0, present, 1 - present))
        shares = self.label.flatten().bincount() / self.label.numel()
        return (1 / (shares.count_nonzero() * shares))[self.label]

    def _at_label(self, channels: torch.Tensor) -> torch.Tensor:
        return channels.gather(1, self.label[:, None])[:, 0]

    def _towards_label(self) -> torch.Tensor:
        """Logits, negated where the label is 0."""
        return torch.where(self.label > 0, self.logits, -self.logits)


class _WeightedCrossEntropy(SegmentationLoss):
    """Mean over all voxels of a weight, constant in the backward pass, times the cross entropy."""

    def _of(self, logits: torch.Tensor, label: torch.Tensor, activation: Activation) -> torch.Tensor:
        answers = VoxelAnswers(logits, label, activation)
        with torch.no_grad():
            weight = self._weight(answers)
        return (weight * answers.cross_entropy()).mean()

    @abstractmethod
    def _weight(self, answers: VoxelAnswers) -> torch.Tensor:
        """Weight of each answer."""


class SegPGDLoss(_WeightedCrossEntropy):
    """
    Cross entropy with a weight of ``wrong_weight`` for wrong voxels and ``1 - wrong_weight`` for correct ones.

    Gu et al., "SegPGD: An Effective and Efficient Adversarial Attack for Evaluating and Boosting Segmentation
    Robustness", ECCV 2022 (arXiv 2207.12391), Eq. 4.

    Args:
        wrong_weight: lambda, in [0, 1].
        activation: see :class:`SegmentationLoss`. With sigmoid, a class of a voxel is correct where its logit has the
            right sign.

    Raises:
        ValueError: If ``wrong_weight`` is out of range.
    """

    def __init__(self, wrong_weight: float = 0.5, *, activation: Activation | None = None) -> None:
        super().__init__(activation=activation)
        if not (isinstance(wrong_weight, Real) and 0 <= wrong_weight <= 1):
            raise ValueError(f"wrong_weight={wrong_weight} must be in [0, 1].")
        self.wrong_weight: float = float(wrong_weight)

    def _weight(self, answers: VoxelAnswers) -> torch.Tensor:
        return torch.where(answers.correct(), 1 - self.wrong_weight, self.wrong_weight)


class CosPGDLoss(_WeightedCrossEntropy):
    """
    Cross entropy weighted by the cosine between softmax and one-hot label; if targeted, by 1 - cosine.

    Agnihotri, Jung, Keuper, "CosPGD: an efficient white-box adversarial attack for pixel-wise prediction tasks",
    ICML 2024 (arXiv 2302.02213).

    Args:
        targeted: whether the loss will be descended, towards a wanted label.
        activation: see :class:`SegmentationLoss`. With sigmoid and ``p`` the probability of what the label says about
            a class of a voxel, the cosine is ``p / sqrt(p^2 + (1 - p)^2)``.

    """

    def __init__(self, targeted: bool = False, *, activation: Activation | None = None) -> None:
        super().__init__(activation=activation)
        self.targeted = targeted

    def _weight(self, answers: VoxelAnswers) -> torch.Tensor:
        cosine = answers.cosine()
        return 1 - cosine if self.targeted else cosine


class CosineLoss(SegmentationLoss):
    """
    One minus the cosine between a voxel's logits and its one-hot label, mean over voxels, in [0, 2].

    The loss of PAdam-Cos (Halmosi, Mohos, Jelasity, ECCV 2024, arXiv 2407.09150, in the authors' package rse). It is
    that of the logits, not of the probabilities: between two logits that sum to 0 it only knows right from wrong.

    Args:
        activation: see :class:`SegmentationLoss`. With sigmoid, a class has a single logit, which has no angle: the
            cosine is that of :class:`CosPGDLoss`, of the probabilities of absent and present.
    """

    def _of(self, logits: torch.Tensor, label: torch.Tensor, activation: Activation) -> torch.Tensor:
        if activation == "sigmoid":
            return 1 - VoxelAnswers(logits, label, activation).cosine().mean()
        # Logits near 0 have no angle, and the gradient is at most 1 / length: this one fits into float16.
        lengths = logits.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float16).tiny)
        return 1 - (logits.gather(1, label) / lengths).mean()


class TsallisLoss(SegmentationLoss):
    """
    Tsallis cross entropy ``(1 - p^(1 - q)) / (1 - q)``, mean over voxels, with ``p`` the probability of the label.

    The loss of TsallisPGD (arXiv 2605.03405): its gradient is that of the cross entropy times ``p^(1 - q)``, so that a
    low ``q`` keeps to the voxels that are still right and sure.

    Args:
        q: at most 1, which is the cross entropy; 0 is ``1 - p``.
        activation: see :class:`SegmentationLoss`. With sigmoid: of the Bernoulli variable of each class of a voxel.

    Raises:
        ValueError: If ``q`` is out of range.
    """

    def __init__(self, q: float = 0.0, *, activation: Activation | None = None) -> None:
        super().__init__(activation=activation)
        if not (isinstance(q, Real) and -math.inf < q <= 1):
            raise ValueError(f"q={q} must be at most 1, a finite number.")
        self.q: float = float(q)

    def _of(self, logits: torch.Tensor, label: torch.Tensor, activation: Activation) -> torch.Tensor:
        cross_entropy = VoxelAnswers(logits, label, activation).cross_entropy()
        if self.q == 1:
            return cross_entropy.mean()
        return (-torch.expm1((self.q - 1) * cross_entropy) / (1 - self.q)).mean()


class MaskedCrossEntropyLoss(_WeightedCrossEntropy):
    """
    Cross entropy of the voxels that are still correct, divided by the number of all voxels.

    Croce, Singh, Hein, "Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models",
    ECCV 2024 (arXiv 2306.12941): the masked cross entropy of its ensemble SEA, ``mask-ce-avg`` in its code.

    Args:
        balanced: weight voxels by the inverse frequency of their class, ``mask-ce-bal`` in the code of SEA, which takes
            the frequencies from a data set. Here they are those of the label given, and weights are 1 on average.
        activation: see :class:`SegmentationLoss`. With sigmoid: the binary cross entropy of the classes of a voxel that
            are still correct, divided by the number of all voxels and classes; balanced are present and absent, class
            by class.

    Raises:
        TypeError: If ``balanced`` is not a bool.
    """

    def __init__(self, balanced: bool = False, *, activation: Activation | None = None) -> None:
        super().__init__(activation=activation)
        if not isinstance(balanced, bool):
            raise TypeError(f"balanced={balanced!r} must be True or False.")
        self.balanced = balanced

    def _weight(self, answers: VoxelAnswers) -> torch.Tensor:
        correct = answers.correct().float()
        return correct * answers.balance() if self.balanced else correct


class JensenShannonLoss(SegmentationLoss):
    """
    Jensen-Shannon divergence between softmax and one-hot label, mean over voxels, in [0, log 2].

    From the same ensemble SEA as :class:`MaskedCrossEntropyLoss`. Its gradient fades at voxels that are very wrong.

    Args:
        activation: see :class:`SegmentationLoss`. With sigmoid: the divergence between the two Bernoulli variables of
            each class of a voxel.
    """

    def _of(self, logits: torch.Tensor, label: torch.Tensor, activation: Activation) -> torch.Tensor:
        log_p = -VoxelAnswers(logits, label, activation).cross_entropy()
        # Against a one-hot vector the divergence depends only on the probability p of the label.
        p = log_p.exp()
        return (math.log(2) + 0.5 * (p * log_p - (1 + p) * torch.log1p(p))).mean()
