# SPDX-License-Identifier: Apache-2.0
"""Projected Adam: steps of an optimiser, not of the sign, within an L-inf ball."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch

from monai_vafa.losses import TsallisLoss

from .gradient import LinfPerturbation, where_active
from .objective import LossFunction
from .pgd import ProjectedGradientDescent, Recipe

# Those of torch.optim.Adam.
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass(kw_only=True, eq=False, repr=False)
class ProjectedAdam(ProjectedGradientDescent):
    """
    PAdam: steps of Adam (AMSGrad) on the voxels, each followed by a projection to the ball.

    Halmosi, Mohos, Jelasity, "Evaluating the Adversarial Robustness of Semantic Segmentation: Trying Harder Pays Off",
    ECCV 2024 (arXiv 2407.09150), with the fixed settings of the authors' package rse: a random start, 200 steps and a
    learning rate of 2 of 255 whatever ``eps``. Here the gradient is that of the loss times the number of voxels, as
    Adam's epsilon of 1e-8 would slow down the small gradients of a mean over a large volume.

    Args:
        step_size: learning rate in intensity levels (0-255 scale); ``None`` for 2.
        restarts: number of starts, see :class:`ProjectedGradientDescent`.
        loss: ``None`` for the cross entropy, PAdam-CE (:class:`monai_vafa.losses.TsallisLoss` with ``q=1``);
            :class:`monai_vafa.losses.CosineLoss` for PAdam-Cos.

    All parameters but ``recipe``: see :class:`ProjectedGradientDescent`.
    """

    recipe: Recipe = field(default="tuned", init=False)
    steps: int = 200
    restarts: int | None = 1

    def _default_loss(self) -> LossFunction:
        return TsallisLoss(1)

    def _own_step_size(self) -> float:
        return 2.0

    def _perturbation(self, image: torch.Tensor) -> LinfPerturbation:
        return _AdamPerturbation(image, eps=self.eps, step_size=cast(float, self.step_size))


class _AdamPerturbation(LinfPerturbation):
    def __init__(self, clean: torch.Tensor, *, eps: float, step_size: float) -> None:
        super().__init__(clean, eps=eps, step_size=step_size)
        self._steps = 0
        self._mean = self._square = self._largest = torch.zeros_like(clean)

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        gradient = gradient * gradient[0, 0].numel()
        self._steps += 1
        self._mean = self._mean.lerp(gradient, 1 - _BETAS[0])
        self._square = self._square.lerp(gradient.square(), 1 - _BETAS[1])
        self._largest = torch.maximum(self._largest, self._square)
        mean, square = self._mean / (1 - _BETAS[0] ** self._steps), self._largest / (1 - _BETAS[1] ** self._steps)
        moved = self._project(self.variable + self._step_size * mean / (square.sqrt() + _EPSILON))
        self.variable = where_active(active, moved, self.variable)
