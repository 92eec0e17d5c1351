# SPDX-License-Identifier: Apache-2.0
"""From voxels to the DCT coefficients of blocks and back, and their quantisation; half precision becomes float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import torch

from .blocks import merge_blocks, split_blocks
from .dct import dct, idct
from .precision import full_precision


@full_precision
def block_spectrum(image: torch.Tensor, block_size: int | Sequence[int]) -> torch.Tensor:
    """
    DCT coefficients of each block of an image: ``DCT(255 x - 128)``.

    Args:
        image: ``(B, C, *spatial)``, values in [0, 1].
        block_size: block side in voxels, an int or one per axis (1 leaves an axis alone).

    Returns:
        ``(B, C, N, *block)``.
    """
    return dct(split_blocks(image * 255 - 128, block_size), spatial_dims=image.ndim - 2)


@full_precision
def spectrum_to_image(spectrum: torch.Tensor, spatial_shape: Sequence[int]) -> torch.Tensor:
    """Undo :func:`block_spectrum`: an image ``(B, C, *spatial_shape)`` by ``(IDCT(c) + 128) / 255``, not clipped."""
    return (merge_blocks(idct(spectrum, spatial_dims=spectrum.ndim - 3), spatial_shape) + 128) / 255


@full_precision
def soft_round(u: torch.Tensor, alpha: float) -> torch.Tensor:
    """
    Differentiable rounding (Hanif et al., MICCAI 2023; after AdvDrop, Duan et al., ICCV 2021).

    ``floor(u) + (tanh((u - floor(u) - 0.5) * log(2 / alpha - 1)) / (1 - alpha) + 1) / 2``

    Args:
        u: any floating tensor; the result has its shape, float32 or wider.
        alpha: softness in (0, 1); towards 0 the result is ``u`` rounded.

    Raises:
        TypeError: If ``u`` is not floating.
        ValueError: If ``alpha`` is not in (0, 1).
    """
    if not (isinstance(alpha, Real) and 0 < alpha < 1):
        raise ValueError(f"alpha={alpha} must be in (0, 1).")
    if not u.is_floating_point():
        raise TypeError(f"u must be a floating tensor, got {u.dtype}.")
    floor = u.floor()
    return floor + (torch.tanh((u - floor - 0.5) * math.log(2 / alpha - 1)) / (1 - alpha) + 1) / 2


@full_precision
def quantize(coefficients: torch.Tensor, table: torch.Tensor | float, alpha: float | None = None) -> torch.Tensor:
    """
    Round coefficients to multiples of a table's entries.

    Args:
        coefficients: DCT coefficients of voxels on the 0-255 scale.
        table: quantisation steps from 1e-30 to 1e30, broadcast against ``coefficients``; others are a ValueError.
        alpha: softness of the rounding (see :func:`soft_round`); ``None`` rounds hard.
    """
    if not (isinstance(table, torch.Tensor | Real) and torch.as_tensor((table >= 1e-30) & (table <= 1e30)).all()):
        raise ValueError("table of quantisation steps (q) must hold numbers from 1e-30 to 1e30.")
    ratio = coefficients / table
    return (ratio.round() if alpha is None else soft_round(ratio, alpha)) * table


@full_precision
def quantize_image(
    image: torch.Tensor, table: torch.Tensor | float, block_size: int | Sequence[int] = 32
) -> torch.Tensor:
    """
    :func:`quantize` the blocks of an image, see :func:`block_spectrum`; the result is clipped to [0, 1].

    ``table`` is a number, or broadcast against ``(B, C, N, *block)``, in intensity levels (0-255 scale).
    """
    return spectrum_to_image(quantize(block_spectrum(image, block_size), table), image.shape[2:]).clamp(0, 1)
