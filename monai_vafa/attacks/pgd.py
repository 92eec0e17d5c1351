# SPDX-License-Identifier: Apache-2.0
"""Sign-gradient attacks on the voxels, within an L-inf ball: FGSM, BIM, PGD, MI-FGSM, SegPGD, CosPGD, TsallisPGD."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch.nn.utils.rnn import pad_sequence

from monai_vafa.losses import CosPGDLoss, SegPGDLoss, TsallisLoss

from .base import AttackResult
from .checks import check_choice, check_count, check_positive
from .gradient import LEVELS, Best, IterativeAttack, LinfAttack, LinfPerturbation, where_active
from .objective import LossFunction, Objective

Recipe = Literal["tuned", "upstream"]
RECIPES = ("tuned", "upstream")
# The released code steps by 0.01 of [0, 1], whatever eps is.
_UPSTREAM_STEP = 0.01 * LEVELS


@dataclass(kw_only=True, eq=False, repr=False)
class BasicIterative(LinfAttack, IterativeAttack):
    """
    BIM: sign steps, projected to the ball after each (Kurakin, Goodfellow, Bengio, arXiv 1607.02533).

    Args:
        recipe: ``"tuned"``, or ``"upstream"`` for the authors' released code of VAFA.
        step_size: change of a voxel per step, in intensity levels. ``None``: ``eps / 4``, in recipe ``"upstream"``
            2.55 (0.01 of [0, 1]) whatever ``eps``.

    All others: see :class:`LinfAttack` and :class:`IterativeAttack`.
    """

    recipe: Recipe = "tuned"
    step_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("recipe", self.recipe, RECIPES)
        step_size = self._own_step_size() if self.step_size is None else self.step_size
        self.step_size = check_positive("step_size", step_size)

    def _own_step_size(self) -> float:
        return _UPSTREAM_STEP if self.recipe == "upstream" else self.eps / 4

    def _perturbation(self, image: torch.Tensor) -> LinfPerturbation:
        return LinfPerturbation(image, eps=self.eps, step_size=cast(float, self.step_size))


@dataclass(kw_only=True, eq=False, repr=False)
class FastGradientSign(BasicIterative):
    """
    FGSM: one step of ``eps`` (Goodfellow, Shlens, Szegedy, arXiv 1412.6572); both recipes are the same.

    All parameters but ``steps`` and ``step_size``: see :class:`BasicIterative`.
    """

    steps: int = field(default=1, init=False)
    step_size: float | None = field(default=None, init=False)

    def _own_step_size(self) -> float:
        return self.eps


@dataclass(kw_only=True, eq=False, repr=False)
class ProjectedGradientDescent(BasicIterative):
    """
    PGD: BIM from random starts within the ball (Madry et al., arXiv 1706.06083).

    Args:
        recipe: ``"tuned"`` steps by ``eps / 4`` and keeps, for each volume, the better of two starts;
            ``"upstream"`` steps by 2.55 from one start.
        random_start: start anywhere in the ball; ``False`` starts at the clean image (and is BIM).
        restarts: number of starts; returned is the image that leaves the fewest voxels right (targeted: with most as
            wanted), among equals that of the highest loss. ``None``: that of the recipe.

    All others: see :class:`BasicIterative`.

    Raises:
        ValueError: If a parameter is out of range, or several starts would all be the clean image.
    """

    random_start: bool = True
    restarts: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts is None:
            self.restarts = 2 if self.recipe == "tuned" and self.random_start else 1
        self.restarts = check_count("restarts", self.restarts)
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts={self.restarts} needs random_start=True: all would start at the clean image.")

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        result = self._from_one_start(objective, image)
        if self.restarts == 1:
            return result
        best = Best(image)
        best.judge(objective, result.adversarial)
        for _ in range(1, cast(int, self.restarts)):
            other = self._from_one_start(objective, image)
            result = _better(best.judge(objective, other.adversarial), other, result)
        return result

    def _from_one_start(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        perturbation = self._perturbation(image)
        if self.random_start:
            perturbation.start_anywhere(objective.draws)
        return self._climb(objective, image, perturbation, self.steps)


@dataclass(kw_only=True, eq=False, repr=False)
class MomentumIterative(BasicIterative):
    """
    MI-FGSM: the sign of an accumulated gradient (Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018).

    ``g <- decay g + gradient / ||gradient||_1``; ``x <- project(x + step_size sign(g))``. The authors of VAFA have no
    such attack, so there is no ``recipe``.

    Args:
        decay: mu in the paper, at least 0.
        step_size: in intensity levels (0-255 scale); ``None`` for ``eps / steps``, as in the paper.

    All others: see :class:`BasicIterative`.
    """

    recipe: Recipe = field(default="tuned", init=False)
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay < 0:
            raise ValueError(f"decay={self.decay} must be at least 0.")

    def _own_step_size(self) -> float:
        return self.eps / self.steps

    def _perturbation(self, image: torch.Tensor) -> LinfPerturbation:
        return MomentumPerturbation(image, eps=self.eps, step_size=cast(float, self.step_size), decay=self.decay)


@dataclass(kw_only=True, eq=False, repr=False)
class SegPGD(ProjectedGradientDescent):
    """
    SegPGD: first turn the voxels that are still right, then also push the wrong ones (Gu et al., ECCV 2022).

    Step ``t`` of ``T``, counted from 0, weights the cross entropy of wrong voxels by ``lambda_t = t / 2T`` and that
    of correct ones by ``1 - lambda_t`` (arXiv 2207.12391, Algorithm 1). The paper has no targeted form.

    All parameters but ``loss``, ``targeted`` and ``recipe``: see :class:`ProjectedGradientDescent`.
    """

    loss: LossFunction | None = field(default=None, init=False)
    targeted: bool = field(default=False, init=False)
    recipe: Recipe = field(default="tuned", init=False)

    def _default_loss(self) -> LossFunction:
        return SegPGDLoss()

    def _loss_at(self, step: int) -> LossFunction:
        return SegPGDLoss(step / (2 * self.steps))


@dataclass(kw_only=True, eq=False, repr=False)
class CosPGD(ProjectedGradientDescent):
    """
    CosPGD: cross entropy weighted by how well each voxel's probabilities agree with its label (arXiv 2302.02213).

    If targeted, the weight is one minus that agreement with the wanted label.

    All parameters but ``loss`` and ``recipe``: see :class:`ProjectedGradientDescent`.
    """

    loss: LossFunction | None = field(default=None, init=False)
    recipe: Recipe = field(default="tuned", init=False)

    def _default_loss(self) -> LossFunction:
        return CosPGDLoss(self.targeted)


@dataclass(kw_only=True, eq=False, repr=False)
class TsallisPGD(ProjectedGradientDescent):
    """
    TsallisPGD: PGD on the Tsallis cross entropy, whose ``q`` rises from step to step (arXiv 2605.03405).

    The gradient of each voxel's cross entropy is weighted by ``p^(1 - q)``, ``p`` being the probability of its label:
    first count the voxels that are right and sure, at ``q = 1`` all alike. As voxels that are far from the label
    count least, there is no targeted form.

    Args:
        q_start: ``q`` of the first step, at most 1.
        q_end: ``q`` of the last step, at most 1; between them it changes linearly.

    All parameters but ``loss``, ``targeted`` and ``recipe``: see :class:`ProjectedGradientDescent`.
    """

    loss: LossFunction | None = field(default=None, init=False)
    targeted: bool = field(default=False, init=False)
    recipe: Recipe = field(default="tuned", init=False)
    q_start: float = -2.0
    q_end: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, q in (("q_start", self.q_start), ("q_end", self.q_end)):
            if q > 1:
                raise ValueError(f"{name}={q} must be at most 1.")

    def _default_loss(self) -> LossFunction:
        return TsallisLoss()

    def _loss_at(self, step: int) -> LossFunction:
        return TsallisLoss(self.q_start + (self.q_end - self.q_start) * step / max(self.steps - 1, 1))


class MomentumPerturbation(LinfPerturbation):
    """State of MI-FGSM."""

    def __init__(self, clean: torch.Tensor, *, eps: float, step_size: float, decay: float) -> None:
        super().__init__(clean, eps=eps, step_size=step_size)
        self._decay = decay
        self._momentum = torch.zeros_like(clean)

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        norm = gradient.abs().flatten(1).sum(1).reshape(-1, *[1] * (gradient.ndim - 1))
        # A zero gradient has no direction to add.
        self._momentum = self._decay * self._momentum + gradient / torch.where(norm > 0, norm, 1.0)
        return self._momentum


def _better(chosen: torch.Tensor, new: AttackResult, old: AttackResult) -> AttackResult:
    """The new result for the chosen volumes, the old one for the others; the shorter trace ends in NaN."""
    traces = pad_sequence([cast(torch.Tensor, r.losses) for r in (new, old)], batch_first=True, padding_value=torch.nan)
    return AttackResult(
        where_active(chosen, new.adversarial, old.adversarial),
        losses=torch.where(chosen, traces[0], traces[1]),
        steps=torch.where(chosen, cast(torch.Tensor, new.steps), cast(torch.Tensor, old.steps)),
    )
