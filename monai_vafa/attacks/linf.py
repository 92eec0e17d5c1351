# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What moves in attacks on the voxels: the image itself, within an L-inf ball."""

from __future__ import annotations

import torch

from .iterative import Perturbation, where_active

__all__ = ["GRAY_VALUES", "LinfPerturbation"]

GRAY_VALUES = 255.0


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
        self._step_size = step_size / GRAY_VALUES

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
