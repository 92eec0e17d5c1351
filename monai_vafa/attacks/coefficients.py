# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Attacks that add to the DCT coefficients of an image's blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from monai_vafa.frequency import block_sides, expand_bands, idct, merge_blocks, split_blocks
from monai_vafa.losses import CosPGDLoss

from .iterative import IterativeAttack, Perturbation, where_active
from .linf import GRAY_VALUES

__all__ = ["CoefficientAttack", "CoefficientPerturbation", "SpectrumAttack"]


class SpectrumAttack(IterativeAttack):
    """
    Base of the attacks ``x' = x + IDCT(band_weights * u) / 255`` that search for ``u`` in a ball.

    Args:
        step_size: step in the unit of the attack's budget; ``None`` for a quarter of the budget.
        steps: number of steps.
        block_size: block side in voxels, an int or one per axis. A window whose side is no multiple of it is filled
            up with its edge values.
        band_weights: weight of the coefficients at the in-plane frequencies 0, 1/16, 2/16, ... cycles per voxel,
            see :func:`monai_vafa.frequency.expand_bands`; ``None`` weights all alike.
        kwargs: ``loss`` (``None`` for :class:`monai_vafa.losses.CosPGDLoss`), ``activation``, ``targeted``,
            ``intensity_range``, ``amp``, ``seed``, ``progress``, see :class:`Attack`.

    Raises:
        ValueError: When a parameter is out of range.
    """

    def __init__(
        self,
        *,
        step_size: float | None = None,
        steps: int = 20,
        block_size: int | Sequence[int] = 8,
        band_weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps=steps, **kwargs)
        if step_size is not None and step_size <= 0:
            raise ValueError(f"step_size={step_size} must be above 0.")
        self.step_size = self._budget / 4 if step_size is None else float(step_size)
        self.block_size = block_size
        self.band_weights = (1.0,) if band_weights is None else tuple(float(w) for w in band_weights)
        expand_bands(self.band_weights, (2, 2))

    def _default_loss(self) -> CosPGDLoss:
        return CosPGDLoss(self.targeted)

    @property
    @abstractmethod
    def _budget(self) -> float:
        """Radius of the ball, in gray values of 255."""


class CoefficientAttack(SpectrumAttack):
    """
    Sign ascent on the DCT coefficients, each bounded by itself: PGD in the frequency domain.

    ``u <- clip(u + step_size sign(dL/du), -eps, eps)``: coefficient ``k`` moves by at most ``eps * band_weight_k``.
    VAFA bounds the coefficients through its quantisation tables; this bounds them directly.

    Args:
        eps: bound of a coefficient of the orthonormal DCT of 255 x, before its band's weight.
        kwargs: see :class:`SpectrumAttack`.

    Raises:
        ValueError: When a parameter is out of range.
    """

    budget = "eps"

    def __init__(self, *, eps: float = 4.0, **kwargs: Any) -> None:
        if eps <= 0:
            raise ValueError(f"eps={eps} must be above 0 (gray values of 255).")
        self.eps = float(eps)
        super().__init__(**kwargs)

    @property
    def _budget(self) -> float:
        return self.eps

    @property
    def threat_model(self) -> str:
        weighted = " times the weight of its band" if len(set(self.band_weights)) > 1 else ""
        return f"{super().threat_model}; may change: each DCT coefficient by at most {self.eps:g} of 255{weighted}"

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        return _BoxPerturbation(self, image)


class CoefficientPerturbation(Perturbation):
    """
    Coefficients added to a clean image.

    Args:
        attack: whose blocks and weights count.
        clean: ``(B, C, *spatial)`` in [0, 1].
    """

    def __init__(self, attack: SpectrumAttack, clean: torch.Tensor) -> None:
        sides = block_sides(attack.block_size, clean.ndim - 2)
        self.variable = torch.zeros_like(split_blocks(clean, sides))
        self._attack = attack
        self._clean = clean
        self._weights = expand_bands(attack.band_weights, sides).to(clean)

    def change(self, variable: torch.Tensor) -> torch.Tensor:
        """What ``variable`` adds to the clean image, ``(B, C, *spatial)``, in gray values."""
        coefficients = idct(self._weights * variable, spatial_dims=self._clean.ndim - 2)
        return merge_blocks(coefficients, self._clean.shape[2:])

    def image(self, step: int) -> torch.Tensor:
        # Clipped as the result will be, so that nothing is gained from voxels that can't go further.
        return (self._clean + self.change(self.variable) / GRAY_VALUES).clamp(0, 1)

    def final(self, last: torch.Tensor) -> torch.Tensor:
        return self.image(self._attack.steps)


class _BoxPerturbation(CoefficientPerturbation):
    def __init__(self, attack: CoefficientAttack, clean: torch.Tensor) -> None:
        super().__init__(attack, clean)
        self._eps = attack.eps

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        moved = self.variable + self._attack.step_size * gradient.sign()
        self.variable = where_active(active, moved.clamp(-self._eps, self._eps), self.variable)
