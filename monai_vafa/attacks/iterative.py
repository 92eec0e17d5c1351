# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The loop of every attack that follows the gradient step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from tqdm.auto import trange

from .base import Attack, AttackResult
from .objective import Objective

__all__ = ["IterativeAttack", "Perturbation"]


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
    def ascend(self, gradient: torch.Tensor, active: torch.Tensor) -> None:
        """Move ``variable`` up the gradient for the volumes that are ``active`` (``(B,)`` bool)."""


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

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        perturbation = self._perturbation(image)
        adversarial = image.clone()
        active = torch.ones(image.shape[0], dtype=torch.bool, device=image.device)
        used = torch.zeros(image.shape[0], dtype=torch.long, device=image.device)
        trace = []
        for step in trange(self.steps, desc=type(self).__name__, disable=not self.progress, leave=False):
            variable = perturbation.variable.requires_grad_()
            candidate = perturbation.image(step)
            losses, success = objective(candidate)
            gain = (-losses if self.targeted else losses) - perturbation.dissimilarity(candidate)
            scale = objective.gradient_scale
            (gradient,) = torch.autograd.grad((gain * scale).sum(), variable)
            # float16 may overflow somewhere; such an entry says nothing of its direction and stays where it is.
            gradient = gradient.nan_to_num(nan=0.0)
            perturbation.variable = variable.detach()
            with torch.no_grad():
                adversarial[active] = candidate.detach()[active]
                perturbation.ascend(gradient / scale, active)
                trace.append(gain.detach())
                used += active
                active = active & ~success
            if not active.any():
                break
        return AttackResult(adversarial, losses=torch.stack(trace), steps=used, tables=self._tables(perturbation))

    def _tables(self, perturbation: Perturbation) -> torch.Tensor | None:
        """Quantisation tables to report, where the attack has any."""
        return None
