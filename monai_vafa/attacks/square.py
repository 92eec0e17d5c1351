# SPDX-License-Identifier: Apache-2.0
"""An attack that needs no gradient, only the answers of the network."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm.auto import trange

from .base import AttackResult
from .checks import check_count
from .draws import Draws
from .gradient import LEVELS, Best, LinfAttack, damage_of, where_active
from .objective import Objective

# Shares of the steps after which the changed share of the voxels halves.
_HALVE_AFTER = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(kw_only=True, eq=False, repr=False)
class SquareAttack(LinfAttack):
    """
    Square attack: random cubes of +-``eps``, kept where they do damage (Andriushchenko et al., ECCV 2020).

    arXiv 1912.00049, Algorithms 1 and 2, with cubes for squares in volumes. It starts with each position along the
    last axis shifted by +-``eps``, then tries one cube after the other, smaller and smaller. It follows no gradient,
    so it also works where there is none to follow: a network that hides its gradient resists PGD, but not this. A
    cube is kept if it leaves fewer voxels right (targeted: more as wanted), or as many and the loss rises. At the end
    the clean image is asked about too, and returned where no query did more damage.

    Args:
        steps: number of queries (forward passes), including the start but not the one of the clean image.
        p_init: share of the voxels that the first cubes change, whatever the image's sides; halved over the steps on
            the paper's schedule.

    All others: see :class:`LinfAttack`.
    """

    steps: int = 500
    p_init: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps = check_count("steps", self.steps)
        if not 0 < self.p_init <= 1:
            raise ValueError(f"p_init={self.p_init} must be above 0 and at most 1.")

    @property
    def _knowledge(self) -> str:
        return "black box (only the network's answers and the labels of each window are known)"

    @torch.no_grad()
    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        batch = image.shape[0]
        best = Best(image)
        active = torch.ones(batch, dtype=torch.bool, device=image.device)
        used = torch.zeros(batch, dtype=torch.long, device=image.device)
        trace = []
        for step in trange(self.steps, desc=type(self).__name__, disable=not self.progress, leave=False):
            candidate = where_active(active, self._query(step, image, best.image, objective.draws), best.image)
            gain, success = objective(candidate)
            best.offer(candidate, gain, damage_of(objective))
            used += active
            active = active & ~success
            trace.append(best.gain)
            if not active.any():
                break
        best.judge(objective, image)
        trace[-1] = best.gain
        return AttackResult(best.image, losses=torch.stack(trace), steps=used)

    def _query(self, step: int, image: torch.Tensor, best: torch.Tensor, draws: Draws) -> torch.Tensor:
        """The images to ask about at a step, counted from 0: stripes, then the best with one cube shifted."""
        if step == 0:
            shape = [image.shape[1], *[1] * (image.ndim - 3), image.shape[-1]]
            return (image + torch.stack([self._shift(shape, g) for g in draws.generators]).to(image)).clamp(0, 1)
        p = self.p_init / 2 ** bisect_left(_HALVE_AFTER, (step - 1) / self.steps)
        sides = cube_sides(p, image.shape[2:])
        candidate = best.clone()
        for i, generator in enumerate(draws.generators):
            cube: list[int | slice] = [i, slice(None)]
            for length, side in zip(image.shape[2:], sides, strict=True):
                start = int(torch.randint(length - side + 1, (), generator=generator))
                cube.append(slice(start, start + side))
            here = tuple(cube)
            shift = self._shift([image.shape[1], *[1] * (image.ndim - 2)], generator).to(image)
            shifted = (image[here] + shift).clamp(0, 1)
            # A query of what is there already would be wasted; the opposite shift is certain to differ.
            known = torch.equal(shifted, best[here])
            candidate[here] = (image[here] - shift).clamp(0, 1) if known else shifted
        return candidate

    def _shift(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Random +-eps."""
        return (torch.randint(2, shape, generator=generator) * 2 - 1) * (self.eps / LEVELS)


def cube_sides(share: float, lengths: Sequence[int]) -> list[int]:
    """Sides of a cube with a share of an image's voxels; longer along the others where it has all of a short axis."""
    sides, voxels = list(lengths), share * math.prod(lengths)
    for done, axis in enumerate(sorted(range(len(lengths)), key=lambda axis: lengths[axis])):
        side = voxels ** (1 / (len(lengths) - done))
        sides[axis] = min(max(round(side), 1), lengths[axis])
        voxels /= min(side, lengths[axis])
    return sides
