# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Controls: noise, and what VAFA's ingredients do by themselves, without looking at the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from monai_vafa.frequency import block_sides, quantize_image

from .base import Attack, AttackResult
from .linf import GRAY_VALUES
from .objective import Objective
from .slices import rescale_slices
from .voxel import check_recipe

__all__ = ["Control", "GaussianNoise", "QuantizeOnly", "RescaleOnly"]


class Control(Attack):
    """A change that asks no network, so it has no loss, and what the network's logits mean is all the same to it."""

    control = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(loss=_no_loss, **kwargs)

    @property
    def threat_model(self) -> str:
        return "none: a control that never looks at the network"


def _no_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("a control asks the network nothing")


class QuantizeOnly(Control):
    """
    Quantise every DCT coefficient with one and the same step: compression, no attack.

    Args:
        q: quantisation step, 1 = one gray value of 255; take the ``q_max`` of the attack it stands beside.
        block_size: block side in voxels, an int or one per axis.
        kwargs: ``intensity_range``, see :class:`Attack`.

    Raises:
        ValueError: When ``q`` is not above 0.
    """

    budget = "q"

    def __init__(self, *, q: float = 20.0, block_size: int | Sequence[int] = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if q <= 0:
            raise ValueError(f"q={q} must be above 0.")
        self.q = float(q)
        self.block_size = block_size

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return AttackResult(quantize_image(image, self.q, block_sides(self.block_size, image.ndim - 2)))


class RescaleOnly(Control):
    """
    Stretch every axial slice of the window to [0, 1], as the released VAFA code does: no quantisation, no attack.

    A 2-D image is one slice.

    Args:
        kwargs: ``intensity_range``, see :class:`Attack`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return AttackResult(rescale_slices(image))


class GaussianNoise(Control):
    """
    Add Gaussian noise and clip to the intensity range (GN): the same in the recipes ``"tuned"`` and ``"upstream"``.

    Args:
        sigma: standard deviation in gray values of 255; take the ``eps`` of the attack it stands beside.
        recipe: accepted so that every attack of the released code can be asked for its recipe by name.
        kwargs: ``intensity_range``, ``seed``, see :class:`Attack`.

    Raises:
        ValueError: When ``sigma`` is not above 0 or the recipe is unknown.
    """

    budget = "sigma"

    def __init__(self, *, sigma: float = 4.0, recipe: str = "tuned", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if sigma <= 0:
            raise ValueError(f"sigma={sigma} must be above 0 (gray values of 255).")
        check_recipe(recipe)
        self.sigma = float(sigma)
        self.recipe = recipe

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return AttackResult(image + self.sigma / GRAY_VALUES * torch.randn_like(image))
