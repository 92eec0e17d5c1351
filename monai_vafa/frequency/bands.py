# SPDX-License-Identifier: Apache-2.0
"""Weights of DCT coefficients by band, that is, by in-plane spatial frequency."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
import torch

BAND_WIDTH = 1 / 16
"""Distance of two bands in cycles per voxel: those of the in-plane coefficients of a block of side 8."""


def in_plane_frequency(block: Sequence[int]) -> torch.Tensor:
    """
    Spatial frequency of each DCT coefficient of a ``block`` within an axial slice (the first two axes).

    In cycles per voxel, ``block``-shaped, 0 to about 0.7. What changes from slice to slice does not show within one.
    """
    plane = [torch.arange(side, dtype=torch.float32) / (2 * side) for side in block[:2]]
    frequency = torch.hypot(*torch.meshgrid(*plane, indexing="ij"))
    return frequency.reshape(*block[:2], *[1] * (len(block) - 2)).expand(*block)


def expand_bands(weights: Sequence[float], block: Sequence[int]) -> torch.Tensor:
    """
    Weight of each DCT coefficient, interpolated between those of the bands.

    Args:
        weights: weights at the in-plane frequencies 0, 1/16, 2/16, ... cycles per voxel; the last one also
            counts above.
        block: block side in voxels, one per axis; the shape of the result.

    Raises:
        ValueError: If there are no weights, a weight is below 0, or all are 0.
    """
    most = torch.finfo(torch.float32).max
    usable = np.ndim(weights) == 1 and all(isinstance(w, Real) and 0 <= w <= most for w in weights)
    if not (usable and any(weights)):
        raise ValueError(f"band_weights={weights!r} must be numbers of float32 of at least 0, not all 0.")
    position = in_plane_frequency(block) / BAND_WIDTH
    return torch.from_numpy(np.interp(position.numpy(), np.arange(len(weights)), weights)).float()
