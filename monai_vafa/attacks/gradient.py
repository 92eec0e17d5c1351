# SPDX-License-Identifier: Apache-2.0
"""The loop of every attack that follows the gradient step by step, and what moves in attacks on the voxels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from tqdm.auto import trange

from .base import Attack, AttackResult
from .checks import check_count, check_eps
from .draws import Draws
from .objective import LossFunction, Objective

LEVELS = 255.0
"""Budgets count intensity levels on the 0-255 scale; this is the width of the intensity range in these."""


class Perturbation(ABC):
    """
    The moving part of one run of an iterative attack; made anew for each run.

    Attributes:
        variable: the tensor that the attack changes, batch first.
        damage: what the image did to the answers, ``(B,)`` (see :class:`Best`); set before :meth:`ascend`.
    """

    variable: torch.Tensor
    damage: torch.Tensor

    @abstractmethod
    def image(self, step: int) -> torch.Tensor:
        """Adversarial image in [0, 1] (it may overshoot) made from ``variable``, differentiable, at a step."""

    def dissimilarity(self, image: torch.Tensor) -> torch.Tensor | float:
        """How visible an adversarial image is, ``(B,)``; subtracted from the objective."""
        return 0.0

    @abstractmethod
    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        """Move ``variable`` up the gradient of ``gain`` ``(B,)``, for the volumes in ``active`` ``(B,)``, bool."""

    def final(self, last: torch.Tensor) -> torch.Tensor:
        """The image that the attack returns after its last step; ``last`` is that of the last step."""
        return last


@dataclass(kw_only=True, eq=False, repr=False)
class IterativeAttack(Attack):
    """
    Attacks that repeat: make the image, ask the network, follow the gradient.

    Subclasses say what moves (:meth:`_perturbation`). A volume with every voxel wrong (targeted: as wanted) is done
    and stays as it is.

    Args:
        steps: number of gradient steps, at least 1.

    All others: see :class:`Attack`.
    """

    _reports_tables: ClassVar[bool] = False

    steps: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps = check_count("steps", self.steps)

    @abstractmethod
    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        """Start of a run on a clean image ``(B, C, *spatial)`` in [0, 1]."""

    def _loss_at(self, step: int) -> LossFunction:
        """Loss of a step, counted from 0."""
        return cast(LossFunction, self.loss)

    def _ask(self, objective: Objective, image: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Gain and success, ``(B,)``, of an image in [0, 1] at a step, counted from 0."""
        return objective(image, self._loss_at(step))

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
            # The network's own gradient, so that nothing that is wrong with it gets lost on the way to the variable.
            shown = candidate.detach().requires_grad_()
            gain, success = self._ask(objective, shown, step)
            scale = objective.gradient_scale
            gradient = objective.lost.without(objective.gradient((gain * scale).sum(), shown), active & ~success)
            gain = gain.detach()
            outputs, gradients = [candidate], [gradient]
            dissimilarity = perturbation.dissimilarity(candidate)
            if isinstance(dissimilarity, torch.Tensor):
                outputs.append(dissimilarity)
                gradients.append(torch.full_like(dissimilarity, -scale))
                gain = gain - dissimilarity.detach()
            (gradient,) = torch.autograd.grad(outputs, variable, gradients)
            perturbation.variable = variable.detach()
            with torch.no_grad():
                adversarial[active] = shown.detach()[active]
                used += active
                active = active & ~success
                perturbation.damage = damage_of(objective)
                perturbation.ascend(gradient / scale, gain, active)
                trace.append(gain)
            if not active.any():
                break
        if active.any():
            with torch.no_grad():
                adversarial = where_active(active, perturbation.final(adversarial), adversarial)
        tables = perturbation.variable if self._reports_tables else None
        return AttackResult(adversarial, losses=torch.stack(trace), steps=used, tables=tables)


@dataclass(kw_only=True, eq=False, repr=False)
class LinfAttack(Attack):
    """
    Base of the attacks within an L-inf ball around the image.

    Args:
        eps: largest change of a voxel, in intensity levels (0-255 scale).

    All others: see :class:`Attack`.
    """

    budget = "eps"

    eps: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.eps = check_eps(self.eps)

    @property
    def threat_model(self) -> str:
        return f"{super().threat_model}; may change: each voxel by at most {self.eps:g} of 255"


class Best:
    """The image with most voxels as wanted of each volume, ties by gain: some losses fall when a voxel turns wrong."""

    def __init__(self, start: torch.Tensor) -> None:
        self.image = start
        self.damage = torch.full((len(start),), torch.iinfo(torch.int64).min, device=start.device)
        self.gain = torch.full((len(start),), -torch.inf, device=start.device)

    def offer(self, image: torch.Tensor, gain: torch.Tensor, damage: torch.Tensor) -> torch.Tensor:
        """Take an image for the volumes for which it is better, and return which these are, ``(B,)``."""
        better = more_damaging(damage, gain, self.damage, self.gain)
        self.image = where_active(better, image, self.image)
        self.damage, self.gain = torch.where(better, damage, self.damage), torch.where(better, gain, self.gain)
        return better

    @torch.no_grad()
    def judge(self, objective: Objective, image: torch.Tensor) -> torch.Tensor:
        """Ask about an image, and :meth:`offer` it."""
        gain, _ = objective(image)
        return self.offer(image, gain, damage_of(objective))


def more_damaging(
    damage: torch.Tensor, gain: torch.Tensor, than_damage: torch.Tensor, than_gain: torch.Tensor
) -> torch.Tensor:
    """For which volumes an answer is worse for the network than another."""
    return (damage > than_damage) | ((damage == than_damage) & (gain > than_gain))


def damage_of(objective: Objective) -> torch.Tensor:
    """Damage of the image asked about last, ``(B,)``: minus the right voxels (targeted: those as wanted)."""
    return objective.right_voxels if objective.targeted else -objective.right_voxels


class LinfPerturbation(Perturbation):
    """The adversarial image itself, within ``eps`` intensity levels of the clean one and within [0, 1]."""

    def __init__(self, clean: torch.Tensor, *, eps: float, step_size: float) -> None:
        self.variable = clean.clone()
        self._clean = clean
        self._eps = eps / LEVELS
        self._step_size: float | torch.Tensor = step_size / LEVELS

    def start_anywhere(self, draws: Draws) -> None:
        """Move to a uniformly random point of the ball."""
        self.variable = (self._clean + self._eps * (2 * draws.of(torch.rand) - 1)).clamp(0, 1)

    def image(self, step: int) -> torch.Tensor:
        return self.variable

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        moved = self.variable + self._step_size * self.direction(gradient).sign()
        self.variable = where_active(active, self._project(moved), self.variable)

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """The direction whose sign is followed."""
        return gradient

    def final(self, last: torch.Tensor) -> torch.Tensor:
        return self.variable

    def _project(self, image: torch.Tensor) -> torch.Tensor:
        return (self._clean + (image - self._clean).clamp(-self._eps, self._eps)).clamp(0, 1)


def where_active(active: torch.Tensor, moved: torch.Tensor, still: torch.Tensor) -> torch.Tensor:
    """``moved`` for the volumes that are active, ``(B,)`` bool, ``still`` for the others."""
    return torch.where(active.reshape(-1, *[1] * (moved.ndim - 1)), moved, still)
