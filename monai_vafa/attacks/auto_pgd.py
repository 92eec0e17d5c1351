# SPDX-License-Identifier: Apache-2.0
"""PGD that finds its own step size and keeps the best image it has seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch

from monai_vafa.losses import MaskedCrossEntropyLoss

from .base import AttackResult
from .gradient import LEVELS, Best, IterativeAttack, LinfAttack, LinfPerturbation, more_damaging, where_active
from .objective import LossFunction, Objective

# From the paper: weight of the new direction against the previous one, and the share of steps that must rise.
_MOMENTUM = 0.75
_RHO = 0.75
# Radii in multiples of eps, and their shares of the steps; eps itself has the rest.
_LARGER_RADII = ((2.0, 0.3), (1.5, 0.3))


@dataclass(kw_only=True, eq=False, repr=False)
class AutoPGD(LinfAttack, IterativeAttack):
    """
    APGD: steps of ``2 eps``, halved for each volume where they no longer help (Croce, Hein, ICML 2020, Algorithm 1).

    arXiv 2003.01690, with the losses and the shrinking radius of SEA (Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941).
    Returned is, as in the code of SEA, the image within ``eps`` with the fewest voxels right (targeted: with most as
    wanted), and a smaller radius continues from that of the larger one. Each radius costs one forward pass beside its
    steps.

    The loss gives the direction alone, as some fall when a voxel turns wrong: a step made progress if fewer voxels are
    right, or as many and the loss is higher. (The code of SEA goes by the cross entropy of all voxels; measured, that
    finds no more.)

    Args:
        steps: number of gradient steps, over all radii.
        random_start: start anywhere in the ball; ``False`` starts at the clean image.
        shrink_radius: spend 30 % of the steps within ``2 eps`` and 30 % within ``1.5 eps``, and continue from the best
            image, pulled into the next smaller ball. Fewer than 4 steps are all spent within ``eps``.
        loss: ``None`` for :class:`monai_vafa.losses.MaskedCrossEntropyLoss`;
            its balanced form and :class:`monai_vafa.losses.JensenShannonLoss` are the others of SEA.

    All others: see :class:`LinfAttack`.

    Raises:
        ValueError: If a parameter is out of range, or masked cross entropy is to be targeted.
    """

    random_start: bool = True
    shrink_radius: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targeted and isinstance(self.loss, MaskedCrossEntropyLoss):
            raise ValueError(
                "targeted=True: masked cross entropy has no targeted form; give another loss, such as cross entropy: "
                "monai.losses.DiceCELoss(to_onehot_y=True, softmax=True, lambda_dice=0), or for sigmoid outputs "
                "torch.nn.BCEWithLogitsLoss()."
            )

    def _stages(self) -> list[tuple[float, int]]:
        """Radius in intensity levels, and number of steps, of each stage."""
        larger = [(ratio * self.eps, int(share * self.steps)) for ratio, share in _LARGER_RADII if self.shrink_radius]
        larger = [(radius, steps) for radius, steps in larger if steps > 0]
        return [*larger, (self.eps, self.steps - sum(steps for _, steps in larger))]

    def _default_loss(self) -> LossFunction:
        return MaskedCrossEntropyLoss()

    def _perturbation(self, image: torch.Tensor) -> _AutoPerturbation:
        radius, _ = self._stages()[0]
        return _AutoPerturbation(image, eps=radius, step_size=2 * radius)

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        perturbation = self._perturbation(image)
        if self.random_start:
            perturbation.start_anywhere(objective.draws)
        traces, used = [], torch.zeros(image.shape[0], dtype=torch.long, device=image.device)
        for radius, steps in self._stages():
            perturbation.enter(radius, steps)
            result = self._climb(objective, image, perturbation, steps)
            # The last step led to an image that has not been judged yet.
            perturbation.best.judge(objective, perturbation.variable)
            perturbation.variable = perturbation.best.image
            traces.append(cast(torch.Tensor, result.losses))
            used += cast(torch.Tensor, result.steps)
        return AttackResult(perturbation.variable, losses=torch.cat(traces), steps=used)


class _AutoPerturbation(LinfPerturbation):
    """State of the paper's Algorithm 1; a stage begins with :meth:`enter`."""

    best: Best  # of the images seen in this stage

    def enter(self, eps: float, steps: int) -> None:
        """Begin a stage of some steps within a ball of ``eps`` intensity levels, from where ``variable`` is."""
        self._eps = eps / LEVELS
        self.variable = self._project(self.variable)
        self._checkpoints = _checkpoints(steps)
        self._step = 0
        self.best = Best(self.variable)
        self._former = self._best_gradient = self.variable
        self._former_answer: tuple[torch.Tensor, torch.Tensor] | None = None
        self._rises = torch.zeros_like(self.best.damage)
        self._improved = self._halved = torch.zeros_like(self._rises, dtype=torch.bool)
        self._step_size = torch.full_like(self.best.gain, 2 * self._eps).reshape(-1, *[1] * (self.variable.ndim - 1))

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        here, damage = self.variable, self.damage
        better = self.best.offer(here, gain, damage)
        self._best_gradient = where_active(better, gradient, self._best_gradient)
        self._improved = self._improved | better
        if self._former_answer is not None:
            self._rises += more_damaging(damage, gain, *self._former_answer)
        if self._step in self._checkpoints:
            self._halve(self._checkpoints[self._step])
            here = where_active(self._halved, self.best.image, here)
            gradient = where_active(self._halved, self._best_gradient, gradient)
            gain = torch.where(self._halved, self.best.gain, gain)
            damage = torch.where(self._halved, self.best.damage, damage)
        ahead = self._project(here + self._step_size * gradient.sign())
        if self._step > 0:
            ahead = self._project(here + _MOMENTUM * (ahead - here) + (1 - _MOMENTUM) * (here - self._former))
        self.variable = where_active(active, ahead, self.variable)
        self._former, self._former_answer = here, (damage, gain)
        self._step += 1

    def final(self, last: torch.Tensor) -> torch.Tensor:
        return self.best.image

    def _halve(self, since: int) -> None:
        """Halve the step size of the volumes whose last ``since`` steps did not help enough (conditions 1 and 2)."""
        rarely = self._rises < _RHO * since
        stuck = ~self._halved & ~self._improved
        self._halved = rarely | stuck
        shape = (-1, *[1] * (self.variable.ndim - 1))
        self._step_size = self._step_size * torch.where(self._halved, 0.5, 1.0).reshape(shape)
        self._rises = torch.zeros_like(self._rises)
        self._improved = torch.zeros_like(self._improved)


def _checkpoints(steps: int) -> dict[int, int]:
    """Steps at which the step size is judged, each with the number of steps since the one before."""
    former, share, widths, last = 0.0, 0.22, {}, 0
    while share < 1:
        step = math.ceil(round(share * steps, 6))  # rounded, as 0.57 may be 0.5700000000000001
        if step > last:
            widths[step] = step - last
        former, share, last = share, share + max(share - former - 0.03, 0.06), step
    return widths
