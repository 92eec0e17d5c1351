# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What a preprocessing does to the intensities of an image: their range, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from monai.transforms import (
    Identity,
    Lambdad,
    ScaleIntensityd,
    ScaleIntensityRange,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
)

__all__ = ["file_units", "value_range"]

Inverse = Callable[[torch.Tensor], torch.Tensor]

# Loading, resampling, cropping and turning leave intensities within their range, and in their units.
_HARMLESS = tuple(f"monai.transforms.{name}.dictionary" for name in ("io", "spatial", "croppad", "utility"))


def value_range(transforms: Sequence[Callable], keys: Sequence[str]) -> tuple[float, float] | None:
    """
    Lowest and highest value that a preprocessed image can have.

    Args:
        transforms: of the preprocessing, in their order.
        keys: of the image, before and after its files are put together.

    Returns:
        the range that the last transform of intensities makes, when that is ``ScaleIntensityRanged`` or
        ``ScaleIntensityRangePercentilesd`` with ``clip``, or ``ScaleIntensityd``; else ``None``.
    """
    changing = _changing(transforms, keys)
    if not changing:
        return None
    scaler: Any = getattr(changing[-1], "scaler", None)
    if isinstance(changing[-1], ScaleIntensityd):
        bounds = (scaler.minv, scaler.maxv)
    elif isinstance(changing[-1], (ScaleIntensityRanged, ScaleIntensityRangePercentilesd)) and scaler.clip:
        bounds = (scaler.b_min, scaler.b_max)
    else:
        return None
    return None if None in bounds else (float(bounds[0]), float(bounds[1]))


def file_units(transforms: Sequence[Callable], keys: Sequence[str]) -> Inverse | None:
    """
    The way from preprocessed intensities back to those of the file.

    Args:
        transforms: of the preprocessing, in their order.
        keys: of the image, before and after its files are put together.

    Returns:
        transform of an image ``(C, *spatial)``; ``None`` when the way depends on the volume, or can't be known.
    """
    changing = _changing(transforms, keys)
    if not changing:
        return cast(Inverse, Identity())
    if len(changing) > 1 or not isinstance(changing[0], ScaleIntensityRanged):
        return None
    scaler = changing[0].scaler
    if scaler.b_min is None or scaler.b_max is None:
        return None
    back = ScaleIntensityRange(a_min=scaler.b_min, a_max=scaler.b_max, b_min=scaler.a_min, b_max=scaler.a_max)
    return cast(Inverse, back)


def _changing(transforms: Sequence[Callable], keys: Sequence[str]) -> list[Callable]:
    """Transforms that change the intensities of the image, or might."""
    return [
        transform
        for transform in transforms
        if not set(getattr(transform, "keys", keys)).isdisjoint(keys)
        and (type(transform).__module__ not in _HARMLESS or isinstance(transform, Lambdad))
    ]
