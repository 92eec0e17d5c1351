# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Sign-gradient attacks on the voxels, within an L-inf ball."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.nn.utils.rnn import pad_sequence

from .base import AttackResult, check_flag
from .iterative import IterativeAttack, Perturbation, where_active
from .linf import GRAY_VALUES, LinfPerturbation, check_eps, linf_bound
from .objective import Objective

__all__ = ["BasicIterative", "FastGradientSign", "ProjectedGradientDescent", "VoxelAttack"]

# The released code steps by 0.01 of [0, 1], whatever eps is.
_UPSTREAM_STEP = 0.01 * GRAY_VALUES
_RECIPES = ("tuned", "upstream")


def check_recipe(recipe: str) -> None:
    """
    Refuse a recipe that the voxel attacks don't have.

    Args:
        recipe: ``"tuned"`` or ``"upstream"``.

    Raises:
        ValueError: When it is neither.
    """
    if recipe not in _RECIPES:
        raise ValueError(f"recipe={recipe!r} must be one of {sorted(_RECIPES)}.")


class VoxelAttack(IterativeAttack):
    """
    Base of the attacks that change each voxel by at most ``eps``, along the sign of the gradient.

    Args:
        recipe: ``"tuned"`` or ``"upstream"`` (the authors' released code).
        eps: largest change of a voxel, in gray values of 255.
        step_size: change of a voxel per step, in gray values of 255; ``None`` for the attack's own.
        steps: number of steps.
        kwargs: ``loss`` (``None`` for Dice + cross entropy), ``activation``, ``targeted``, ``intensity_range``,
            ``amp``, ``seed``, ``progress``, see :class:`Attack`.

    Raises:
        ValueError: When a parameter is out of range or the recipe is unknown.
    """

    budget = "eps"

    def __init__(
        self,
        *,
        recipe: str = "tuned",
        eps: float = 4.0,
        step_size: float | None = None,
        steps: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps=steps, **kwargs)
        check_recipe(recipe)
        self.eps = check_eps(eps)
        if step_size is not None and step_size <= 0:
            raise ValueError(f"step_size={step_size} must be above 0.")
        self.recipe = recipe
        self.step_size = self._own_step_size() if step_size is None else float(step_size)

    @property
    def threat_model(self) -> str:
        return f"{super().threat_model}; {linf_bound(self.eps)}"

    def _own_step_size(self) -> float:
        return _UPSTREAM_STEP if self.recipe == "upstream" else self.eps / 4

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        return LinfPerturbation(image, eps=self.eps, step_size=self.step_size)


class FastGradientSign(VoxelAttack):
    """
    FGSM: one step of ``eps`` (Goodfellow, Shlens, Szegedy, arXiv 1412.6572); both recipes are the same.

    Args:
        eps: largest change of a voxel, in gray values of 255.
        kwargs: ``recipe``, ``loss`` and others but ``step_size`` and ``steps``, see :class:`VoxelAttack`.

    Raises:
        ValueError: When ``eps`` is not in (0, 255] or the recipe is unknown.
    """

    def __init__(self, *, eps: float = 4.0, **kwargs: Any) -> None:
        super().__init__(eps=eps, step_size=eps, steps=1, **kwargs)


class BasicIterative(VoxelAttack):
    """
    BIM: ``steps`` sign steps, projected to the ball after each (Kurakin, Goodfellow, Bengio, arXiv 1607.02533).

    Args:
        steps: number of steps. Recipe ``"tuned"`` steps by ``eps / 4``; ``"upstream"`` by 2.55 (0.01 of [0, 1]),
            whatever ``eps``, as the authors' released code.
        kwargs: see :class:`VoxelAttack`.

    Raises:
        ValueError: When a parameter is out of range.
    """

    def __init__(self, *, steps: int = 20, **kwargs: Any) -> None:
        super().__init__(steps=steps, **kwargs)


class ProjectedGradientDescent(BasicIterative):
    """
    PGD: BIM from random starts within the ball (Madry et al., arXiv 1706.06083).

    Args:
        recipe: ``"tuned"`` steps by ``eps / 4`` and keeps, for each volume, the better of two starts;
            ``"upstream"`` steps by 2.55 from one start.
        random_start: start anywhere in the ball; ``False`` starts at the clean image (and is BIM).
        restarts: number of starts; the one with the highest loss at its end counts. ``None`` for the recipe's.
        kwargs: see :class:`BasicIterative`.

    Raises:
        ValueError: When a parameter is out of range, or several starts would all be the clean image.
    """

    def __init__(
        self, *, recipe: str = "tuned", random_start: bool = True, restarts: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(recipe=recipe, **kwargs)
        self.random_start = check_flag("random_start", random_start)
        if restarts is None:
            restarts = 2 if recipe == "tuned" and random_start else 1
        if int(restarts) != restarts or restarts < 1:
            raise ValueError(f"restarts={restarts} must be a whole number, 1 or more.")
        if restarts > 1 and not random_start:
            raise ValueError(f"restarts={restarts} needs random_start=True: all starts would be the clean image.")
        self.restarts = int(restarts)

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        perturbation = LinfPerturbation(image, eps=self.eps, step_size=self.step_size)
        if self.random_start:
            perturbation.start_anywhere()
        return perturbation

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        result = super()._generate(objective, image)
        if self.restarts == 1:
            return result
        best = self._final_gain(objective, result)
        for _ in range(1, self.restarts):
            other = super()._generate(objective, image)
            gain = self._final_gain(objective, other)
            result = _better(gain > best, other, result)
            best = torch.maximum(gain, best)
        return result

    def _final_gain(self, objective: Objective, result: AttackResult) -> torch.Tensor:
        with torch.no_grad():
            return objective(result.adversarial)[0]


def _better(chosen: torch.Tensor, new: AttackResult, old: AttackResult) -> AttackResult:
    """The new result for the chosen volumes, the old one for the others; the shorter trace ends in NaN."""
    traces = pad_sequence([cast(torch.Tensor, r.losses) for r in (new, old)], batch_first=True, padding_value=torch.nan)
    return AttackResult(
        where_active(chosen, new.adversarial, old.adversarial),
        losses=torch.where(chosen, traces[0], traces[1]),
        steps=torch.where(chosen, cast(torch.Tensor, new.steps), cast(torch.Tensor, old.steps)),
    )
