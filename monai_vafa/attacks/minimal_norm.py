# SPDX-License-Identifier: Apache-2.0
"""The smallest change after which a network is wrong nearly everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from tqdm.auto import trange

from .base import Attack, AttackResult
from .checks import check_choice, check_count, check_number
from .gradient import more_damaging, where_active
from .objective import LossFunction, Objective

# From the paper: smoothing of multipliers and squared gradients, how much a constraint must improve, and the range of
# the weight that constraints have as a whole.
_SMOOTHING, _IMPROVED, _LEAST_WEIGHT = 0.8, 0.95, 0.1
# Chosen on linear networks of known optimum: steps between checks of the constraints, change of their weight per step,
# largest penalty, and the gradient at the start as a multiple of what balances the norm.
_CHECKED_EVERY, _WEIGHT_RATE, _MOST_PENALTY = 5, 1.1, 1e3
_PRESSURE = {"linf": 100.0, "l2": 10.0}
# The first step as a change of [0, 1], the next ones in multiples of the smallest norm so far, and how these shrink.
_FIRST_STEP, _STEP, _LAST_STEP = 0.03, 0.3, 0.1
_HALVINGS = 25


@dataclass(kw_only=True, eq=False, repr=False)
class MinimalNormAttack(Attack):
    """
    ALMA prox: the smallest change after which nearly all of the foreground is wrong.

    Rony, Pesquet, Ben Ayed, "Proximal Splitting Adversarial Attack for Semantic Segmentation", CVPR 2023 (arXiv
    2206.07179). Each voxel of the foreground is a constraint with a multiplier of its own in an augmented Lagrangian
    (penalty P2); steps along its gradient, scaled as by RMSProp, alternate with the proximal operator of the norm.
    Nothing bounds the change, so what to compare is the norm that was needed, L-inf or RMSE, not the DSC.

    A constraint is ``m / (|m| + rms(m on the clean image))`` of the margin ``m`` between a voxel's own logit and the
    largest other one, as the paper's ratio of logits needs three classes. So that a few steps are enough, multipliers
    start in balance with the norm, and step sizes follow the smallest norm so far.

    Args:
        norm: ``"linf"``, the largest change of a voxel, or ``"l2"``, the root mean square change.
        goal: share of the voxels of the foreground that are to be wrong, above 0 and at most 1. With sigmoid, of the
            classes that voxels have; if targeted, of all voxels, which are to be as wanted. An image without any
            foreground stays as it is.
        steps: number of gradient steps.

    All others but ``loss``: see :class:`Attack`. Returned is the image of the smallest norm at which the goal was
    reached, or else the one that came closest, between equal shares by its margins, with ``goal_missed`` of the
    result. ``losses`` are the shares reached.

    Raises:
        ValueError: If a parameter is out of range.
    """

    loss: LossFunction | None = field(default=None, init=False)
    norm: Literal["linf", "l2"] = "linf"
    goal: float = 0.99
    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("norm", self.norm, ("linf", "l2"))
        if not 0 < check_number("goal", self.goal) <= 1:
            raise ValueError(f"goal={self.goal} must be above 0 and at most 1: it is a share of the foreground.")
        self.steps = check_count("steps", self.steps)

    @property
    def threat_model(self) -> str:
        least = {"linf": "L-inf", "l2": "RMSE"}[self.norm]
        goal = f"{100 * self.goal:g} % of {'all voxels are as wanted' if self.targeted else 'the foreground is wrong'}"
        return f"{super().threat_model}; may change: anything (no bound), by the least {least} at which {goal}"

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        change, squares = torch.zeros_like(image), torch.zeros_like(image)
        best, smallest = image, torch.full((len(image),), torch.inf, device=image.device)
        closest, gap = -torch.ones_like(smallest), torch.zeros_like(smallest)
        used = torch.zeros_like(smallest, dtype=torch.long)
        trace: list[torch.Tensor] = []
        for step in trange(self.steps, desc=type(self).__name__, disable=not self.progress, leave=False):
            shown = (image + change).requires_grad_()
            margins, counts = objective.margins(shown)
            now = margins.detach()
            if step == 0:
                total = counts.sum(1)
                spared = ((1 - self.goal) * total.double() + 1e-6).long()  # constraints that need not be met
                typical = ((now.square() * counts).sum(1) / total.clamp(min=1)).sqrt().clamp(min=1e-12)[:, None]
                weight, duals = torch.ones_like(smallest), _Multipliers(now)
            wrong = ((now < 0) & counts).sum(1)
            reached, size = total - wrong <= spared, self._size(change)
            share = torch.where(total > 0, wrong / total.clamp(min=1), 1.0)
            missing = -(now.clamp(min=0) * counts).sum(1)
            closer = reached | more_damaging(share, missing, closest, gap)
            better = torch.where(smallest.isfinite(), reached & (size < smallest), closer)
            best = where_active(better, image + change, best)
            closest, gap = torch.where(better, share, closest), torch.where(better, missing, gap)
            smallest = torch.where(better & reached, size, smallest)
            active = smallest > 0
            used += active
            trace.append(share)
            if not active.any():
                break
            weight = (weight * torch.where(reached, 1 / _WEIGHT_RATE, _WEIGHT_RATE)).clamp(_LEAST_WEIGHT, 1)
            constraints = weight[:, None] * (margins / (margins.abs() + typical) + 1e-4)
            kept = counts & _but_largest(constraints.detach(), counts, spared * step // max(self.steps - 1, 1))
            slopes = duals.update(constraints.detach(), kept, step)
            scale = objective.gradient_scale
            largest = (slopes.sum(1) / typical[:, 0]).max().clamp(min=1e-12)
            gradient = objective.gradient((slopes / largest * constraints).sum() * scale, shown) * (largest / scale)
            gradient = objective.lost.without(gradient, active)
            if step == 0:
                gradient = gradient * _along(duals.balance(gradient, _PRESSURE[self.norm]), image)
            squares = _SMOOTHING * squares + (1 - _SMOOTHING) * gradient.square()
            metric = (squares / (1 - _SMOOTHING ** (step + 1))).sqrt().clamp(min=1e-12)
            length = (_STEP * smallest).clamp(max=_FIRST_STEP) * _LAST_STEP ** (step / self.steps)
            change = self._proximal(change - _along(length, image) * gradient / metric, metric, length, image)
        return AttackResult(best, losses=torch.stack(trace), steps=used, goal_missed=(~smallest.isfinite()).float())

    def _size(self, change: torch.Tensor) -> torch.Tensor:
        """Norm of each volume's change, ``(B,)``, in shares of [0, 1]."""
        flat = change.flatten(1)
        return flat.abs().amax(1) if self.norm == "linf" else flat.square().mean(1).sqrt()

    def _proximal(
        self, change: torch.Tensor, metric: torch.Tensor, length: torch.Tensor, image: torch.Tensor
    ) -> torch.Tensor:
        """Proximal operator of ``length`` times the norm in a diagonal metric; the image stays within [0, 1]."""
        inside = change.clamp(-image, 1 - image)
        if self.norm == "l2":  # of the norm's quadratic upper bound at this change
            pull = length / (image[0].numel() * self._size(change).clamp(min=1e-12))
            return (change * metric / (metric + _along(pull, image))).clamp(-image, 1 - image)
        low, high = torch.zeros_like(length), self._size(inside)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            beyond = (change.abs() - _along(middle, image)) * (inside.abs() > _along(middle, image))
            rising = length > (metric * beyond).flatten(1).sum(1)
            low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
        return torch.minimum(torch.maximum(inside, -_along(high, image)), _along(high, image))


class _Multipliers:
    """Multiplier and penalty of each constraint ``c <= 0``, ``(B, N)``, as penalty P2 of the paper moves them."""

    def __init__(self, like: torch.Tensor) -> None:
        self.multiplier, self.penalty = torch.ones_like(like), torch.ones_like(like)
        self.former, self.met = torch.full_like(like, torch.inf), torch.zeros_like(like, dtype=torch.bool)
        self.most: torch.Tensor | float = like.shape[1]

    def update(self, constraints: torch.Tensor, kept: torch.Tensor, step: int) -> torch.Tensor:
        """Learn from constraints at a step, and return the slope of the penalty at each; 0 where it is not kept."""
        self.met |= constraints < 0
        if (step + 1) % _CHECKED_EVERY == 0:
            stuck = ~self.met & (constraints * kept > _IMPROVED * self.former)
            self.penalty = torch.where(stuck, 2 * self.penalty, self.penalty).clamp(max=_MOST_PENALTY)
            self.former, self.met = constraints, torch.zeros_like(self.met)
        if step > 0:
            slopes = torch.lerp(self._slopes(constraints) * kept, self.multiplier, _SMOOTHING)
            self.multiplier = torch.minimum(slopes.clamp(min=1e-15), torch.as_tensor(self.most))
        return self._slopes(constraints) * kept

    def balance(self, gradient: torch.Tensor, pressure: float) -> torch.Tensor:
        """Scale all multipliers so that a gradient has a sum of ``pressure``, and return by how much, ``(B,)``."""
        total = gradient.flatten(1).abs().sum(1)
        factor = pressure / torch.where(total > 0, total, pressure)
        self.multiplier, self.most = self.multiplier * factor[:, None], self.most * factor[:, None]
        return factor

    def _slopes(self, constraints: torch.Tensor) -> torch.Tensor:
        """Derivative of the penalty, above 0."""
        y = self.penalty * constraints
        return self.multiplier * torch.where(y >= 0, 1 + 2 * y + y.square() / 2, (1 - y.clamp(max=0)).pow(-2))


def _but_largest(values: torch.Tensor, counts: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Which values of each row ``(B, N)`` are not among its ``number`` ``(B,)`` largest, of those that count."""
    if not (most := int(number.max())):
        return counts
    largest = values.masked_fill(~counts, -torch.inf).topk(most, dim=1).values
    bound = largest.gather(1, (number - 1).clamp(min=0)[:, None])
    return (values < bound) | (number == 0)[:, None]


def _along(values: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Values ``(B,)`` with the axes of an image."""
    return values.reshape(-1, *[1] * (image.ndim - 1))
