# SPDX-License-Identifier: Apache-2.0
"""Cut volumes into equal blocks, and put them together again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from numbers import Real
from typing import Any, cast

import torch
import torch.nn.functional as F

from monai_vafa.outputs import check_tensor

# What padding to multiples of a block may lead to; a larger image may grow to eight times its size.
MOST_VOXELS = 2**24


def block_sides(
    block_size: int | Sequence[int], spatial_dims: int | None = None, *, in_plane: bool = False
) -> tuple[int, ...]:
    """
    The block's side along each spatial axis.

    Args:
        block_size: one side for all axes, or one per axis, in voxels.
        spatial_dims: number of spatial axes; ``None`` only checks the sides that are given.
        in_plane: blocks lie within axial slices: ``block_size`` is for the first two axes, and a third has 1.

    Raises:
        ValueError: If a side is not an integer of at least 1, or their number is not ``spatial_dims``.
    """
    if in_plane and spatial_dims == 3:
        return (*block_sides(block_size, 2), 1)
    if getattr(block_size, "ndim", 1) == 0:  # a number of NumPy or torch
        block_size = cast(Any, block_size).item()
    sides = tuple(block_size) if isinstance(block_size, Iterable) else (block_size,) * (spatial_dims or 1)
    if len(sides) != (spatial_dims or len(sides)):
        raise ValueError(f"block_size={block_size} must be an int or have {spatial_dims} sides, one per spatial axis.")
    if not all(isinstance(s, Real) and s >= 1 and s % 1 == 0 for s in sides):
        raise ValueError(f"block_size={block_size!r} must be integers of at least 1.")
    return tuple(int(s) for s in sides)


def split_blocks(volume: torch.Tensor, block_size: int | Sequence[int]) -> torch.Tensor:
    """
    Cut a volume into blocks; a side that is not a multiple of the block's is padded with edge values at the far end.

    Args:
        volume: ``(B, C, *spatial)`` with 1 to 3 spatial axes.
        block_size: block side in voxels, an int or one per axis.

    Returns:
        ``(B, C, N, *block)``, blocks in row-major order.

    Raises:
        TypeError: If the volume is not a tensor, or is to be padded and not floating.
        ValueError: If it has other axes or is empty, or a block is far larger than it.
    """
    check_tensor("volume", volume)
    spatial = volume.shape[2:]
    sides = block_sides(block_size, len(spatial))
    counts = [-(-length // side) for length, side in zip(spatial, sides, strict=True)]
    whole = [count * side for count, side in zip(counts, sides, strict=True)]
    # The transform of a side takes a matrix of its square.
    if max(prod(whole), *(side**2 for side in sides)) > max(8 * prod(spatial), MOST_VOXELS):
        raise ValueError(f"block_size={sides} is far larger than the image {tuple(spatial)}; use smaller blocks.")
    if whole != list(spatial):
        check_tensor("volume", volume, floating=True)
        missing = [padded - length for padded, length in zip(whole, spatial, strict=True)]
        volume = F.pad(volume, [p for m in reversed(missing) for p in (0, m)], mode="replicate")
    grid = [n for pair in zip(counts, sides, strict=True) for n in pair]
    dims = len(sides)
    order = [0, 1, *range(2, 2 + 2 * dims, 2), *range(3, 2 + 2 * dims, 2)]
    return volume.reshape(*volume.shape[:2], *grid).permute(order).reshape(*volume.shape[:2], prod(counts), *sides)


def merge_blocks(blocks: torch.Tensor, spatial_shape: Sequence[int]) -> torch.Tensor:
    """
    Undo :func:`split_blocks`: put blocks ``(B, C, N, *block)`` together, and crop to ``(B, C, *spatial_shape)``.

    Raises:
        ValueError: If the number of blocks does not fit ``spatial_shape``.
    """
    sides = blocks.shape[3:]
    dims = len(sides)
    counts = [-(-length // max(side, 1)) for length, side in zip(spatial_shape, sides, strict=False)]
    if not 0 < dims == len(spatial_shape) or prod(counts) != blocks.shape[2]:
        raise ValueError(
            f"blocks of shape {tuple(blocks.shape)} do not make up spatial_shape={tuple(spatial_shape)}: they must be "
            f"(B, C, N, *block), here with N={prod(counts)}."
        )
    order = [0, 1, *(2 + i + j * dims for i in range(dims) for j in (0, 1))]
    whole = [c * s for c, s in zip(counts, sides, strict=True)]
    volume = blocks.reshape(*blocks.shape[:2], *counts, *sides).permute(order).reshape(*blocks.shape[:2], *whole)
    inside = (slice(None), slice(None), *(slice(0, length) for length in spatial_shape))
    return volume[inside]
