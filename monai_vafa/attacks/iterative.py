# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The loop of every attack that follows the gradient step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from tqdm.auto import trange

from .base import Attack, AttackResult
from .objective import Objective

__all__ = ["IterativeAttack", "Perturbation", "where_active"]


class Perturbation(ABC):
    """
    The moving part of one run of an iterative attack; made anew for each run.

    Attributes:
        variable: the tensor that the attack changes, batch first.
    """

    variable: torch.Tensor

    @abstractmethod
    def image(self, step: int) -> torch.Tensor:
        """Adversarial image in [0, 1] (it may overshoot) made from ``variable``, differentiable, at a step."""

    def dissimilarity(self, image: torch.Tensor) -> torch.Tensor | float:
        """How visible an adversarial image is, ``(B,)``; taken off the objective."""
        return 0.0

    @abstractmethod
    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        """
        Move ``variable`` up the gradient.

        Args:
            gradient: of the gain to ``variable``.
            gain: the objective at ``variable``, ``(B,)``.
            active: the volumes to move, ``(B,)`` bool.
        """

    @abstractmethod
    def final(self, last: torch.Tensor) -> torch.Tensor:
        """The image that the attack returns once its steps are used up; ``last`` is that of the last step."""


def where_active(active: torch.Tensor, moved: torch.Tensor, still: torch.Tensor) -> torch.Tensor:
    """
    Take ``moved`` for the volumes that are active, ``still`` for the others.

    Args:
        active: ``(B,)`` bool.
        moved: batch first.
        still: same shape.
    """
    return torch.where(active.reshape(-1, *[1] * (moved.ndim - 1)), moved, still)


class IterativeAttack(Attack):
    """
    Attacks that repeat: make the image, ask the network, follow the gradient.

    Subclasses say what moves (:meth:`_perturbation`). A volume whose every voxel is wrong (targeted: as wanted)
    is done and stays as it is.

    Args:
        steps: number of gradient steps, 1 or more.
        kwargs: see :class:`Attack`.

    Raises:
        ValueError: When ``steps`` is below 1.
    """

    def __init__(self, *, steps: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if int(steps) != steps or steps < 1:
            raise ValueError(f"steps={steps} must be a whole number, 1 or more.")
        self.steps = int(steps)

    @abstractmethod
    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        """Start of a run on a clean image ``(B, C, *spatial)`` in [0, 1]."""

    def _loss_at(self, step: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Loss of a step, counted from 0."""
        return self.loss

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return self._climb(objective, image, self._perturbation(image), self.steps)

    def _climb(self, objective: Objective, image: torch.Tensor, perturbation: Perturbation, steps: int) -> AttackResult:
        """Take ``steps`` steps with a perturbation of a clean image ``(B, C, *spatial)`` in [0, 1]."""
        adversarial = image.clone()
        active = torch.ones(image.shape[0], dtype=torch.bool, device=image.device)
        used = torch.zeros(image.shape[0], dtype=torch.long, device=image.device)
        trace = []
        for step in trange(steps, desc=type(self).__name__, disable=not self.progress, leave=False):
            variable = perturbation.variable.requires_grad_()
            candidate = perturbation.image(step)
            gain, success = objective(candidate, self._loss_at(step))
            gain = gain - perturbation.dissimilarity(candidate)
            scale = objective.gradient_scale
            (gradient,) = torch.autograd.grad((gain * scale).sum(), variable)
            # float16 may overflow somewhere; such an entry says nothing of its direction and stays where it is.
            gradient = gradient.nan_to_num(nan=0.0)
            perturbation.variable = variable.detach()
            with torch.no_grad():
                adversarial[active] = candidate.detach()[active]
                used += active
                active = active & ~success
                perturbation.ascend(gradient / scale, gain.detach(), active)
                trace.append(gain.detach())
            if not active.any():
                break
        if active.any():
            with torch.no_grad():
                adversarial = where_active(active, perturbation.final(adversarial), adversarial)
        return AttackResult(adversarial, losses=torch.stack(trace), steps=used, tables=self._tables(perturbation))

    def _tables(self, perturbation: Perturbation) -> torch.Tensor | None:
        """Quantisation tables to report, where the attack has any."""
        return None
