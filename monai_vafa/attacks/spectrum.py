# SPDX-License-Identifier: Apache-2.0
"""Attacks that add to the DCT coefficients of an image's blocks: each bounded, or all where they are hard to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from monai.networks.layers import GaussianFilter

from monai_vafa.frequency import block_sides, expand_bands, idct, merge_blocks, split_blocks
from monai_vafa.losses import CosPGDLoss

from .checks import check_numbers, check_positive
from .gradient import LEVELS, IterativeAttack, Perturbation, where_active
from .objective import LossFunction

# Inverse visibility of noise in each band, measured by tests/benchmarks/band_visibility.py.
_BAND_WEIGHTS = (1.0, 0.82, 0.74, 0.65, 0.56, 0.47, 0.56, 0.79, 1.59, 1.88)
_CONTRAST_SIGMA = 1.5
# A standard deviation of a quarter of an intensity level is rounding, not contrast.
_FLAT = 0.25 / LEVELS


@dataclass(kw_only=True, eq=False, repr=False)
class SpectrumAttack(IterativeAttack):
    """
    Base of the attacks ``x' = x + IDCT(band_weights * u) / 255`` that search for ``u`` in a ball.

    Args:
        step_size: step in the unit of the attack's budget; ``None`` for a quarter of the budget.
        block_size: block side in voxels, an int or one per axis. A window whose side is not a multiple of it is padded
            with its edge values.
        band_weights: weight of the coefficients at the in-plane frequencies 0, 1/16, 2/16, ... cycles per voxel,
            see :func:`monai_vafa.frequency.expand_bands`; ``None`` weights all alike.
        loss: ``None`` for :class:`monai_vafa.losses.CosPGDLoss`.

    All others: see :class:`IterativeAttack`.
    """

    step_size: float | None = None
    block_size: int | Sequence[int] = 8
    band_weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(cast(str, self.budget), self._radius)
        self.step_size = check_positive("step_size", self._radius / 4 if self.step_size is None else self.step_size)
        self.band_weights = check_numbers("band_weights", (1.0,) if self.band_weights is None else self.band_weights)
        expand_bands(self.band_weights, (2, 2))  # checks them

    def _default_loss(self) -> LossFunction:
        return CosPGDLoss(self.targeted)

    @property
    def _radius(self) -> float:
        """Radius of the ball, in intensity levels (0-255 scale)."""
        return cast(float, getattr(self, cast(str, self.budget)))


@dataclass(kw_only=True, eq=False, repr=False)
class CoefficientAttack(SpectrumAttack):
    """
    Sign ascent on the DCT coefficients, each bounded by itself: PGD in the frequency domain.

    ``u <- clip(u + step_size sign(dL/du), -eps, eps)``: coefficient ``k`` moves by at most ``eps * band_weight_k``.
    VAFA bounds the coefficients through its quantisation tables; this bounds them directly.

    Args:
        eps: bound of a coefficient of the orthonormal DCT of 255 x, before the weight of its band.

    All others: see :class:`SpectrumAttack` and :class:`Attack`.
    """

    budget = "eps"

    eps: float = 4.0

    @property
    def threat_model(self) -> str:
        weighted = " times the weight of its band" if len(set(cast(tuple, self.band_weights))) > 1 else ""
        return f"{super().threat_model}; may change: each DCT coefficient by at most {self.eps:g} of 255{weighted}"

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        return _BoxPerturbation(self, image)


@dataclass(kw_only=True, eq=False, repr=False)
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
        rmse: largest root mean square change of the attacked window, in intensity levels (0-255 scale).
        contrast_masking: exponent of the local contrast, at least 0; 0 treats all voxels alike.
        band_weights: see :class:`SpectrumAttack`; ``None`` weights all bands alike.

    All others: see :class:`SpectrumAttack` and :class:`Attack`.
    """

    budget = "rmse"

    rmse: float = 4.0
    contrast_masking: float = 0.4
    band_weights: Sequence[float] | None = _BAND_WEIGHTS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.contrast_masking < 0:
            raise ValueError(f"contrast_masking={self.contrast_masking} must be at least 0.")

    @property
    def threat_model(self) -> str:
        return f"{super().threat_model}; may change: each window by an RMSE of at most {self.rmse:g} of 255"

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        return _HiddenPerturbation(self, image)


class _CoefficientPerturbation(Perturbation):
    """Coefficients added to a clean image ``(B, C, *spatial)`` in [0, 1], with the blocks and weights of an attack."""

    def __init__(self, attack: SpectrumAttack, clean: torch.Tensor) -> None:
        sides = block_sides(attack.block_size, clean.ndim - 2)
        self.variable = torch.zeros_like(split_blocks(clean, sides))
        self._clean = clean
        self._radius = attack._radius
        self._step_size = cast(float, attack.step_size)
        self._weights = expand_bands(cast(tuple, attack.band_weights), sides).to(clean)

    def change(self, variable: torch.Tensor) -> torch.Tensor:
        """What ``variable`` adds to the clean image, ``(B, C, *spatial)``, in intensity levels."""
        coefficients = idct(self._weights * variable, spatial_dims=self._clean.ndim - 2)
        return merge_blocks(coefficients, self._clean.shape[2:])

    def image(self, step: int) -> torch.Tensor:
        # Clipped as the result will be, so that nothing is gained from voxels that can't go further.
        return (self._clean + self.change(self.variable) / LEVELS).clamp(0, 1)

    def final(self, last: torch.Tensor) -> torch.Tensor:
        return self.image(0)


class _BoxPerturbation(_CoefficientPerturbation):
    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        moved = self.variable + self._step_size * gradient.sign()
        self.variable = where_active(active, moved.clamp(-self._radius, self._radius), self.variable)


class _HiddenPerturbation(_CoefficientPerturbation):
    def __init__(self, attack: PerceptualFrequencyAttack, clean: torch.Tensor) -> None:
        super().__init__(attack, clean)
        self._mask = contrast_mask(clean, attack.contrast_masking)

    def change(self, variable: torch.Tensor) -> torch.Tensor:
        return self._mask * super().change(variable)

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        # The change is linear in the coefficients, so scaling one scales the other.
        moved = self.variable + self._scaled(gradient, self._step_size, enlarge=True)
        self.variable = where_active(active, self._scaled(moved, self._radius), self.variable)

    def _scaled(self, coefficients: torch.Tensor, rmse: float, *, enlarge: bool = False) -> torch.Tensor:
        """Coefficients whose change has at most (``enlarge``: exactly) this RMSE."""
        now = _rms(self.change(coefficients)).reshape(-1, *[1] * (coefficients.ndim - 1))
        factor = rmse / torch.where(now > 0, now, 1.0)
        return coefficients * (factor if enlarge else factor.clamp(max=1.0))


def contrast_mask(image: torch.Tensor, exponent: float) -> torch.Tensor:
    """Local contrast to a power, how much a change may hide in each voxel; 1 in an image without any contrast."""
    blur = GaussianFilter(image.ndim - 2, _CONTRAST_SIGMA).to(image)
    inside = blur(torch.ones_like(image))  # less than 1 where the window reaches beyond the border
    mean, mean_square = blur(image) / inside, blur(image.square()) / inside
    contrast = (mean_square - mean.square() - _FLAT**2).clamp(min=0).sqrt()
    typical = _rms(contrast).reshape(-1, *[1] * (image.ndim - 1))
    return torch.where(typical > 0, contrast / torch.where(typical > 0, typical, 1.0), 1.0).pow(exponent)


def _rms(values: torch.Tensor) -> torch.Tensor:
    """Root mean square of each volume, ``(B,)``."""
    return values.flatten(1).square().mean(1).sqrt()
