# SPDX-License-Identifier: Apache-2.0
"""Momentum with input diversity: perturbations that also fool networks that the attacker does not have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from monai_vafa.outputs import as_logits

from .gradient import where_active
from .objective import Objective
from .pgd import MomentumIterative


@dataclass(kw_only=True, eq=False, repr=False)
class DiverseInputsIterative(MomentumIterative):
    """
    M-DI2-FGSM: MI-FGSM whose network sees the image at a random size and place (Xie et al., CVPR 2019).

    At each step a volume is, with probability ``diversity``, resized to a random share of its sides and padded at
    random with its lowest value (arXiv 1803.06978, Section 3.2; there it grows, but many networks take one size only).
    The logits are mapped back to the image's own grid before the loss, so labels and losses stay as they are, and the
    gradient goes through all of it, trilinear (bilinear in 2-D).

    Args:
        diversity: probability p of the paper, in [0, 1]; with 0 it is MI-FGSM.
        smallest: smallest share of the sides, above 0 and at most 1.

    All others: see :class:`MomentumIterative`.
    """

    diversity: float = 0.5
    smallest: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.diversity <= 1 and 0 < self.smallest <= 1):
            given = f"diversity={self.diversity} and smallest={self.smallest}"
            raise ValueError(f"{given} must be at most 1, and the first at least 0, the second above 0.")

    def _ask(self, objective: Objective, image: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rand = torch.stack([torch.rand(image.ndim, generator=generator) for generator in objective.draws.generators])
        resized, rand = rand[:, 0].to(image.device) < self.diversity, rand.to(image)
        share = 1 - (1 - self.smallest) * rand[:, 1:2]
        place = (1 - share) * (2 * rand[:, 2:] - 1)  # of the centre; the image reaches from -1 to 1

        def network(own: torch.Tensor) -> torch.Tensor:
            lowest = own.detach().flatten(1).amin(1).reshape(-1, *[1] * (own.ndim - 1))
            seen = where_active(resized, (_moved(own - lowest, 1 / share, -place / share) + lowest).to(own.dtype), own)
            logits = as_logits(objective.network(seen))
            return where_active(resized, _moved(logits, share, place).to(logits.dtype), logits)

        gain, success = objective(image, self._loss_at(step), network)
        return gain, success & ~resized  # a network is fooled when it errs on the image itself


def _moved(volumes: torch.Tensor, scale: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Volumes sampled at ``scale x + place``, 0 outside."""
    matrix = torch.cat([torch.diag_embed(scale.expand(place.shape)), place[..., None]], 2)
    grid = F.affine_grid(matrix, list(volumes.shape), align_corners=False)
    return F.grid_sample(volumes.float(), grid, align_corners=False)
