# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""From voxels to the DCT coefficients of blocks and back, on the 0-255 scale of quantisation tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .blocks import merge_blocks, split_blocks
from .dct import dct, idct
from .quantization import quantize

__all__ = ["block_spectrum", "quantize_image", "spectrum_to_image"]


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


def spectrum_to_image(spectrum: torch.Tensor, spatial_shape: Sequence[int]) -> torch.Tensor:
    """
    Undo :func:`block_spectrum`: ``(IDCT(c) + 128) / 255``, not clipped.

    Args:
        spectrum: ``(B, C, N, *block)``.
        spatial_shape: spatial shape of the image.

    Returns:
        ``(B, C, *spatial_shape)``.
    """
    return (merge_blocks(idct(spectrum, spatial_dims=spectrum.ndim - 3), spatial_shape) + 128) / 255


def quantize_image(
    image: torch.Tensor, table: torch.Tensor | float, block_size: int | Sequence[int] = 32
) -> torch.Tensor:
    """
    Round the DCT coefficients of each block of an image to multiples of a table's entries.

    Args:
        image: ``(B, C, *spatial)``, values in [0, 1].
        table: quantisation steps in intensity levels (0-255 scale); a number, or broadcast against
            ``(B, C, N, *block)``.
        block_size: block side in voxels, an int or one per axis.

    Returns:
        ``(B, C, *spatial)``, clipped to [0, 1].
    """
    return spectrum_to_image(quantize(block_spectrum(image, block_size), table), image.shape[2:]).clamp(0, 1)
