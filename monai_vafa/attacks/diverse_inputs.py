# SPDX-License-Identifier: Apache-2.0
"""Momentum with input diversity: perturbations that also fool networks that the attacker does not have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from monai_vafa.outputs import as_logits

from .objective import Objective
from .pgd import MomentumIterative

Box = tuple[slice, ...]  # of a volume (C, *spatial)


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
        if not 0 <= self.diversity <= 1:
            raise ValueError(f"diversity={self.diversity} must be a probability, in [0, 1].")
        if not 0 < self.smallest <= 1:
            raise ValueError(f"smallest={self.smallest} must be a share of the sides, above 0 and at most 1.")

    def _ask(self, objective: Objective, image: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        boxes = [self._box(image.shape[2:], generator) for generator in objective.draws.generators]

        def network(own: torch.Tensor) -> torch.Tensor:
            logits = as_logits(objective.network(_each(_shrunk, own, boxes)))
            # Logits of another size are refused by the objective.
            return _each(_grown, logits, boxes) if logits.shape[2:] == own.shape[2:] else logits

        gain, success = objective(image, self._loss_at(step), network)
        # A network is fooled when it errs on the image itself.
        return gain, success & torch.tensor([box is None for box in boxes], device=success.device)

    def _box(self, sides: Sequence[int], generator: torch.Generator) -> Box | None:
        """Where a volume of these sides is put; ``None`` where it stays as it is."""
        chance, share, *places = torch.rand(2 + len(sides), generator=generator).tolist()
        share = self.smallest + (1 - self.smallest) * share
        small = [max(round(share * side), 1) for side in sides]
        if chance >= self.diversity or small == list(sides):
            return None
        starts = [int(place * (side - s + 1)) for place, side, s in zip(places, sides, small, strict=True)]
        return (slice(None), *(slice(start, start + s) for start, s in zip(starts, small, strict=True)))


def _each(change: Callable, volumes: torch.Tensor, boxes: Sequence[Box | None]) -> torch.Tensor:
    changed = [v if box is None else change(v, box) for v, box in zip(volumes, boxes, strict=True)]
    return torch.stack(changed)


def _shrunk(volume: torch.Tensor, box: Box) -> torch.Tensor:
    seen = torch.full_like(volume, float(volume.detach().min()))
    seen[box] = _resized(volume, seen[box].shape[1:])
    return seen


def _grown(volume: torch.Tensor, box: Box) -> torch.Tensor:
    return _resized(volume[box], volume.shape[1:])


def _resized(volume: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    mode = "trilinear" if len(sides) == 3 else "bilinear"
    return F.interpolate(volume[None].float(), tuple(sides), mode=mode)[0].to(volume.dtype)
