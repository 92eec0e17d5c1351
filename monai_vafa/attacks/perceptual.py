# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""A frequency attack that spends its budget where it is hard to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.layers import GaussianFilter

from .coefficients import CoefficientPerturbation, SpectrumAttack
from .iterative import Perturbation, where_active
from .linf import GRAY_VALUES

__all__ = ["PerceptualFrequencyAttack", "contrast_mask"]

# Inverse visibility of noise in each band, measured by tests/benchmarks/band_visibility.py.
_BAND_WEIGHTS = (1.0, 0.82, 0.74, 0.65, 0.56, 0.47, 0.56, 0.79, 1.59, 1.88)
_CONTRAST_SIGMA = 1.5
# A standard deviation of a quarter gray value is rounding, not contrast.
_FLAT = 0.25 / GRAY_VALUES


class PerceptualFrequencyAttack(SpectrumAttack):
    """
    Steepest ascent over the DCT coefficients in a ball of RMSE, weighted by how well a change hides.

    ``x' = x + m * IDCT(w * u) / 255``. ``w`` lowers the bands that stand out to LPIPS, ``m`` lets the change follow
    the image's local contrast: ``m = (s / rms(s)) ** contrast_masking`` with ``s`` the standard deviation of the
    image in a Gaussian window (1.5 voxels), as the eye tolerates more where an image is busy (contrast masking,
    Watson 1993). Each step goes along the gradient itself, not its sign: the change keeps the spectrum that the
    network is most sensitive to, and leaves alone what does not matter. With ``contrast_masking=0`` and
    ``band_weights=None`` this is PGD in an L2 ball, the DCT being orthonormal.

    Args:
        rmse: largest root mean square change of the attacked window, in gray values of 255.
        contrast_masking: exponent of the local contrast, 0 or more; 0 treats all voxels alike.
        band_weights: see :class:`SpectrumAttack`; ``None`` weights all bands alike.
        kwargs: see :class:`SpectrumAttack`.

    Raises:
        ValueError: When a parameter is out of range.
    """

    budget = "rmse"

    def __init__(
        self,
        *,
        rmse: float = 4.0,
        contrast_masking: float = 0.4,
        band_weights: Sequence[float] | None = _BAND_WEIGHTS,
        **kwargs: Any,
    ) -> None:
        if rmse <= 0:
            raise ValueError(f"rmse={rmse} must be above 0 (gray values of 255).")
        if contrast_masking < 0:
            raise ValueError(f"contrast_masking={contrast_masking} must be 0 or more.")
        self.rmse = float(rmse)
        self.contrast_masking = float(contrast_masking)
        super().__init__(band_weights=band_weights, **kwargs)

    @property
    def _budget(self) -> float:
        return self.rmse

    @property
    def threat_model(self) -> str:
        return f"{super().threat_model}; may change: each window by an RMSE of at most {self.rmse:g} of 255"

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        return _HiddenPerturbation(self, image)


class _HiddenPerturbation(CoefficientPerturbation):
    def __init__(self, attack: PerceptualFrequencyAttack, clean: torch.Tensor) -> None:
        super().__init__(attack, clean)
        self._rmse = attack.rmse
        self._mask = contrast_mask(clean, attack.contrast_masking)

    def change(self, variable: torch.Tensor) -> torch.Tensor:
        return self._mask * super().change(variable)

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        # The change is linear in the coefficients, so scaling one scales the other.
        moved = self.variable + self._scaled(gradient, self._attack.step_size, enlarge=True)
        self.variable = where_active(active, self._scaled(moved, self._rmse), self.variable)

    def _scaled(self, coefficients: torch.Tensor, rmse: float, *, enlarge: bool = False) -> torch.Tensor:
        """Coefficients whose change has at most (``enlarge``: exactly) this RMSE."""
        now = _rms(self.change(coefficients)).reshape(-1, *[1] * (coefficients.ndim - 1))
        factor = rmse / torch.where(now > 0, now, 1.0)
        return coefficients * (factor if enlarge else factor.clamp(max=1.0))


def contrast_mask(image: torch.Tensor, exponent: float) -> torch.Tensor:
    """
    Local contrast to a power: how much a change may hide in each voxel.

    Args:
        image: ``(B, C, *spatial)`` in [0, 1].
        exponent: 0 or more.

    Returns:
        same shape; 1 everywhere for an image without any contrast.
    """
    blur = GaussianFilter(image.ndim - 2, _CONTRAST_SIGMA).to(image)
    inside = blur(torch.ones_like(image))  # less than 1 where the window reaches beyond the border
    mean, mean_square = blur(image) / inside, blur(image.square()) / inside
    contrast = (mean_square - mean.square() - _FLAT**2).clamp(min=0).sqrt()
    typical = _rms(contrast).reshape(-1, *[1] * (image.ndim - 1))
    return torch.where(typical > 0, contrast / torch.where(typical > 0, typical, 1.0), 1.0).pow(exponent)


def _rms(values: torch.Tensor) -> torch.Tensor:
    """Root mean square of each volume, ``(B,)``."""
    return values.flatten(1).square().mean(1).sqrt()
