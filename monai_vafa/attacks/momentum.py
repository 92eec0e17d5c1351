# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Sign-gradient steps with momentum."""

from __future__ import annotations

from typing import Any

import torch

from .iterative import Perturbation
from .linf import LinfPerturbation
from .voxel import BasicIterative

__all__ = ["MomentumIterative"]


class MomentumIterative(BasicIterative):
    """
    MI-FGSM: the sign of an accumulated gradient (Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018).

    ``g <- decay g + gradient / ||gradient||_1``; ``x <- project(x + step_size sign(g))``.

    Args:
        decay: the paper's mu, 0 or more.
        step_size: in gray values of 255; ``None`` for the paper's ``eps / steps``.
        kwargs: see :class:`BasicIterative`, but for ``recipe``: the authors of VAFA have no such attack.

    Raises:
        ValueError: When a parameter is out of range.
    """

    def __init__(self, *, decay: float = 1.0, **kwargs: Any) -> None:
        if "recipe" in kwargs:
            raise TypeError("MomentumIterative has no recipe: there is none to reproduce.")
        super().__init__(**kwargs)
        if decay < 0:
            raise ValueError(f"decay={decay} must be 0 or more.")
        self.decay = float(decay)

    def _own_step_size(self) -> float:
        return self.eps / self.steps

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        return _MomentumPerturbation(image, eps=self.eps, step_size=self.step_size, decay=self.decay)


class _MomentumPerturbation(LinfPerturbation):
    def __init__(self, clean: torch.Tensor, *, decay: float, **kwargs: float) -> None:
        super().__init__(clean, **kwargs)
        self._decay = decay
        self._momentum = torch.zeros_like(clean)

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        norm = gradient.abs().flatten(1).sum(1).reshape(-1, *[1] * (gradient.ndim - 1))
        # A zero gradient has no direction to add.
        self._momentum = self._decay * self._momentum + gradient / torch.where(norm > 0, norm, 1.0)
        return self._momentum
