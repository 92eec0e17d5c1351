# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What moves in attacks on the voxels: the image itself, within an L-inf ball."""

from __future__ import annotations

import torch

from .iterative import Perturbation, where_active

__all__ = ["GRAY_VALUES", "LinfPerturbation", "check_eps", "linf_bound"]

GRAY_VALUES = 255.0


def check_eps(eps: float) -> float:
    """
    Refuse a radius that no image can be attacked within.

    Args:
        eps: radius of the ball in gray values of 255.

    Raises:
        ValueError: When it is not in (0, 255].
    """
    if not 0 < eps <= GRAY_VALUES:
        raise ValueError(f"eps={eps} must be above 0 and at most 255 (gray values of 255).")
    return float(eps)


def linf_bound(eps: float) -> str:
    """What a ball of radius ``eps`` allows, in the words of a threat model."""
    return f"may change: each voxel by at most {eps:g} of 255"


class LinfPerturbation(Perturbation):
    """
    The adversarial image itself, kept within ``eps`` of the clean one and within [0, 1].

    Args:
        clean: ``(B, C, *spatial)`` in [0, 1].
        eps: radius of the ball in gray values of 255.
        step_size: step in gray values of 255.
    """

    def __init__(self, clean: torch.Tensor, *, eps: float, step_size: float) -> None:
        self.variable = clean.clone()
        self._clean = clean
        self._eps = eps / GRAY_VALUES
        self._step_size: float | torch.Tensor = step_size / GRAY_VALUES

    def start_anywhere(self) -> None:
        """Move to a uniformly random point of the ball."""
        noise = torch.empty_like(self._clean).uniform_(-self._eps, self._eps)
        self.variable = (self._clean + noise).clamp(0, 1)

    def image(self, step: int) -> torch.Tensor:
        return self.variable

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        moved = self.variable + self._step_size * self.direction(gradient).sign()
        self.variable = where_active(active, self._project(moved), self.variable)

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """What to take the sign of."""
        return gradient

    def final(self, last: torch.Tensor) -> torch.Tensor:
        return self.variable

    def _project(self, image: torch.Tensor) -> torch.Tensor:
        return (self._clean + (image - self._clean).clamp(-self._eps, self._eps)).clamp(0, 1)
