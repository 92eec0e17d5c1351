# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What an attack refuses of image and label, and the range of the image's values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.utils import convert_to_tensor

__all__ = ["check_image_values", "check_label", "value_range"]

# Resampling may overshoot a range by rounding; more than this is a wrong range.
_RANGE_TOLERANCE = 1e-3


def check_image_values(image: torch.Tensor) -> None:
    """
    Refuse an image that no attack can start from.

    Args:
        image: any tensor.

    Raises:
        ValueError: When voxels are NaN or infinite; says how many.
    """
    if not torch.isfinite(image).all():
        count = int((~torch.isfinite(image)).sum())
        raise ValueError(f"image holds {count} NaN or infinite voxels; mend or drop it before the attack.")


def value_range(image: torch.Tensor, intensity_range: Sequence[float] | None) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Lowest value and width of each volume's range.

    Args:
        image: ``(B, C, *spatial)``.
        intensity_range: the range of all; ``None`` takes each volume's own, over all its channels.

    Returns:
        both shaped to broadcast against ``image``; a constant volume has width 1.

    Raises:
        ValueError: When ``image`` has values outside of ``intensity_range``.
    """
    shape = (-1, *[1] * (image.ndim - 1))
    lowest, highest = image.flatten(1).amin(1), image.flatten(1).amax(1)
    if intensity_range is None:
        width = highest - lowest
        return lowest.reshape(shape), torch.where(width > 0, width, 1.0).reshape(shape)
    low, high = intensity_range
    slack = _RANGE_TOLERANCE * (high - low)
    if lowest.min() < low - slack or highest.max() > high + slack:
        raise ValueError(
            f"image has values in [{float(lowest.min()):.4g}, {float(highest.max()):.4g}], outside "
            f"intensity_range=({low:g}, {high:g}); give the range of your preprocessing, or None for each "
            "volume's own."
        )
    return torch.full_like(lowest, low).reshape(shape), torch.full_like(lowest, high - low).reshape(shape)


def check_label(label: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """
    Refuse a label that fits no network on that image.

    Args:
        label: ``(B, 1 or classes, *spatial)``.
        image: ``(B, C, *spatial)``.

    Returns:
        the label as plain int64 tensor.

    Raises:
        ValueError: When shapes don't fit, or values are no whole numbers of 0 or more.
    """
    plain: torch.Tensor = convert_to_tensor(label, track_meta=False)
    if plain.ndim != image.ndim or plain.shape[0] != image.shape[0] or plain.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"label of shape {tuple(plain.shape)} does not fit an image of {tuple(image.shape)}: batch and spatial "
            "axes must be the same, with one channel (class map) or one per class."
        )
    if plain.is_floating_point() and not torch.equal(plain, plain.round()):  # also catches NaN
        raise ValueError("label must hold whole numbers; resample label maps with mode='nearest'.")
    if plain.min() < 0:
        raise ValueError(f"label holds {int(plain.min())}; classes start at 0.")
    return plain.detach().long()
