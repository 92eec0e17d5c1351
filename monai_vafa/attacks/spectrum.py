# SPDX-License-Identifier: Apache-2.0
"""Attacks that add to the DCT coefficients of an image's blocks: each bounded, or all where they are hard to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from monai.networks.layers import GaussianFilter

from monai_vafa.frequency import block_sides, dct, expand_bands, idct, merge_blocks, split_blocks
from monai_vafa.losses import CosPGDLoss

from .checks import check_numbers, check_positive
from .gradient import LEVELS, IterativeAttack, Perturbation, where_active
from .objective import LossFunction

# LPIPS sees the middle bands most (tests/benchmarks/band_visibility.py), HaarPSI and GMSD the low ones. Chosen on the
# demo's cohort and on training and validation cases of the hippocampus bundle.
_BAND_WEIGHTS = (0.5, 0.55, 0.6, 0.6, 0.55, 0.5, 0.6, 0.8, 1.5, 1.7)
_CONTRAST_SIGMA = 1.5
# A standard deviation of a quarter of an intensity level is rounding, not contrast.
_FLAT = 0.25 / LEVELS


@dataclass(kw_only=True, eq=False, repr=False)
class SpectrumAttack(IterativeAttack):
    """
    Base of the attacks ``x' = x + IDCT(band_weights * u) / 255`` that search for ``u`` in a ball.

    Args:
        step_size: step in the unit of the attack's budget; ``None`` for a quarter of it.
        block_size: block side in voxels, an int or one per axis. A window whose side is not a multiple of it is padded
            with its edge values.
        band_weights: weight of the coefficients at the in-plane frequencies 0, 1/16, 2/16, ... cycles per voxel,
            see :func:`monai_vafa.frequency.expand_bands`; ``None`` weights all alike.
        loss: ``None`` for :class:`monai_vafa.losses.CosPGDLoss`.

    All others: see :class:`IterativeAttack`.
    """

    _first_step: ClassVar[float] = 0.25

    step_size: float | None = None
    block_size: int | Sequence[int] = 8
    band_weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(cast(str, self.budget), self._radius)
        step_size = self._first_step * self._radius if self.step_size is None else self.step_size
        self.step_size = check_positive("step_size", step_size)
        self.band_weights = check_numbers("band_weights", (1.0,) if self.band_weights is None else self.band_weights)
        expand_bands(self.band_weights, (2, 2))  # checks them

    def check_image(self, shape: Sequence[int]) -> None:
        super().check_image(shape)
        split_blocks(torch.empty(tuple(shape), device="meta"), self.block_size)  # checks that blocks are not too large

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

    ``x' = x + m * IDCT(w * u) / 255``. ``w`` lowers the bands that stand out, ``m`` lets the change follow the image's
    local contrast: ``m = (s / rms(s)) ** contrast_masking`` with ``s`` the standard deviation of the image in a
    Gaussian window (1.5 voxels), as the eye tolerates more where an image is busy (contrast masking, Watson 1993).
    Each step goes along the gradient itself, not its sign: the change keeps the spectrum that the network is most
    sensitive to, and leaves alone what does not matter. Seen from the voxels, this is ascent along
    ``m * IDCT(w^2 * DCT(m * gradient))``. With ``contrast_masking=0`` and ``band_weights=None`` it is PGD in an L2
    ball, the DCT being orthonormal.

    Args:
        rmse: largest root mean square change of the attacked window, in intensity levels (0-255 scale).
        step_size: RMSE of the first step; steps shrink linearly towards 0. ``None`` for twice ``rmse``.
        contrast_masking: exponent of the local contrast, at least 0; 0 treats all voxels alike.
        band_weights: see :class:`SpectrumAttack`; ``None`` weights all bands alike.

    All others: see :class:`SpectrumAttack` and :class:`Attack`.
    """

    budget = "rmse"
    _first_step = 2.0

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


class _BoxPerturbation(Perturbation):
    """Coefficients added to a clean image ``(B, C, *spatial)`` in [0, 1]."""

    def __init__(self, attack: SpectrumAttack, clean: torch.Tensor) -> None:
        self._attack, self._clean, self._block = attack, clean, block_sides(attack.block_size, clean.ndim - 2)
        self._weights = expand_bands(cast(tuple, attack.band_weights), self._block).to(clean)
        self.variable = torch.zeros_like(split_blocks(clean, self._block))

    def image(self, step: int) -> torch.Tensor:
        change = idct(self._weights * self.variable, spatial_dims=self._clean.ndim - 2)
        # Clipped as the result will be, so that nothing is gained from voxels that can't go further.
        return (self._clean + merge_blocks(change, self._clean.shape[2:]) / LEVELS).clamp(0, 1)

    def final(self, last: torch.Tensor) -> torch.Tensor:
        return self.image(0)

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        radius, moved = self._attack._radius, self.variable + cast(float, self._attack.step_size) * gradient.sign()
        self.variable = where_active(active, moved.clamp(-radius, radius), self.variable)


class _HiddenPerturbation(Perturbation):
    """What is added to a clean image ``(B, C, *spatial)`` in [0, 1]."""

    def __init__(self, attack: PerceptualFrequencyAttack, clean: torch.Tensor) -> None:
        self._attack, self._clean, self._block = attack, clean, block_sides(attack.block_size, clean.ndim - 2)
        self._weights = expand_bands(cast(tuple, attack.band_weights), self._block).to(clean).square()
        self._mask = contrast_mask(clean, attack.contrast_masking)
        self._steps = 0
        self.variable = torch.zeros_like(clean)

    def image(self, step: int) -> torch.Tensor:
        return (self._clean + self.variable).clamp(0, 1)

    def final(self, last: torch.Tensor) -> torch.Tensor:
        return self.image(0)

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        dims, shape = self._clean.ndim - 2, self._clean.shape[2:]
        bands = self._weights * dct(split_blocks(self._mask * gradient, self._block), spatial_dims=dims)
        direction = self._mask * merge_blocks(idct(bands, spatial_dims=dims), shape)
        size = cast(float, self._attack.step_size) * (1 - self._steps / self._attack.steps)
        self._steps += 1
        moved = self.variable + direction * _scale(direction, size)
        moved = moved * _scale(moved, self._attack.rmse).clamp(max=1)
        self.variable = where_active(active, moved, self.variable)


def _scale(change: torch.Tensor, rmse: float) -> torch.Tensor:
    """Factor that brings each volume of a change in [0, 1] to an RMSE in intensity levels, ``(B, 1, ...)``."""
    now = LEVELS * _rms(change).reshape(-1, *[1] * (change.ndim - 1))
    return rmse / torch.where(now > 0, now, 1.0)


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
