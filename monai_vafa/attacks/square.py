# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""An attack that needs no gradient, only the answers of the network."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm.auto import trange

from .base import Attack, AttackResult
from .checks import check_count, check_eps
from .gradient import LEVELS, linf_bound, where_active
from .objective import Objective

__all__ = ["SquareAttack"]

# Shares of the steps after which the changed share of the voxels halves.
_HALVE_AFTER = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(kw_only=True, eq=False, repr=False)
class SquareAttack(Attack):
    """
    Square attack: random cubes of +-``eps``, kept where the loss rises (Andriushchenko et al., ECCV 2020).

    arXiv 1912.00049, Algorithms 1 and 2, with cubes for squares in volumes. It starts with each position along the
    last axis shifted by +-``eps``, then tries one cube after the other, smaller and smaller. It follows no gradient,
    so it also works where there is none to follow: a network that hides its gradient resists PGD, but not this.

    Args:
        eps: largest change of a voxel, in intensity levels (0-255 scale).
        steps: number of queries (forward passes), including the start.
        p_init: share of the voxels that the first cubes change; halved over the steps on the paper's schedule.

    All others: see :class:`Attack`.
    """

    budget = "eps"

    eps: float = 4.0
    steps: int = 500
    p_init: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps = check_count("steps", self.steps)
        if not 0 < self.p_init <= 1:
            raise ValueError(f"p_init={self.p_init} must be above 0 and at most 1.")
        self.eps = check_eps(self.eps)
        self.p_init = float(self.p_init)

    @property
    def threat_model(self) -> str:
        return f"{super().threat_model}; {linf_bound(self.eps)}"

    @property
    def _knowledge(self) -> str:
        return "black box (only the network's answers and the labels of each window are known)"

    @torch.no_grad()
    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        batch, _, *sides = image.shape
        best = image
        best_gain = torch.full((batch,), -torch.inf, device=image.device)
        active = torch.ones(batch, dtype=torch.bool, device=image.device)
        used = torch.zeros(batch, dtype=torch.long, device=image.device)
        trace = []
        for step in trange(self.steps, desc=type(self).__name__, disable=not self.progress, leave=False):
            candidate = self._stripes(image) if step == 0 else self._with_cube(image, best, self._side(step - 1, sides))
            gain, success = objective(candidate)
            accepted = active & (gain > best_gain)
            best = where_active(accepted, candidate, best)
            best_gain = torch.where(accepted, gain, best_gain)
            used += active
            active = active & ~(accepted & success)
            trace.append(best_gain)
            if not active.any():
                break
        return AttackResult(best, losses=torch.stack(trace), steps=used)

    def _stripes(self, image: torch.Tensor) -> torch.Tensor:
        shape = [image.shape[1], *[1] * (image.ndim - 3), image.shape[-1]]
        return (image + self._shift(image, shape)).clamp(0, 1)

    def _side(self, step: int, sides: Sequence[int]) -> int:
        """Side in voxels of the cubes of a step."""
        p = self.p_init / 2 ** bisect_left(_HALVE_AFTER, step / self.steps)
        return max(round((p * math.prod(sides)) ** (1 / len(sides))), 1)

    def _with_cube(self, image: torch.Tensor, best: torch.Tensor, side: int) -> torch.Tensor:
        """``best`` with one cube, no longer than the image along any axis, shifted as a whole."""
        window = [slice(None), slice(None)]
        for length in image.shape[2:]:
            start = int(torch.randint(max(length - side, 0) + 1, ()))
            window.append(slice(start, start + side))
        cube = tuple(window)
        shift = self._shift(image, [image.shape[1], *[1] * (image.ndim - 2)])
        shifted = (image[cube] + shift).clamp(0, 1)
        # A query of what is there already would be wasted; the opposite shift is certain to differ.
        known = (shifted == best[cube]).flatten(1).all(1)
        candidate = best.clone()
        candidate[cube] = where_active(known, (image[cube] - shift).clamp(0, 1), shifted)
        return candidate

    def _shift(self, image: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Random +-eps, the same for all volumes of a batch, so that each is attacked as if alone."""
        signs = torch.randint(2, tuple(shape)) * 2 - 1
        return signs.to(image) * (self.eps / LEVELS)
