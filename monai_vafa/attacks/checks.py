# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of an attack's parameters and of what it is called with; each returns what it lets pass, if anything."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from monai.utils import convert_to_tensor

__all__ = [
    "check_choice",
    "check_count",
    "check_eps",
    "check_flag",
    "check_image_values",
    "check_label",
    "check_positive",
    "value_range",
]

# Resampling may overshoot a range by rounding; more than this means that the range is wrong.
_RANGE_TOLERANCE = 1e-3


def check_flag(name: str, value: bool) -> bool:
    """A bool: on MONAI's command line ``false`` arrives as a string, which is true."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r} must be True or False (with a capital letter on the command line).")
    return value


def check_count(name: str, value: int) -> int:
    """An integer of at least 1."""
    if int(value) != value or value < 1:
        raise ValueError(f"{name}={value} must be an integer of at least 1.")
    return int(value)


def check_positive(name: str, value: float) -> float:
    """A number above 0."""
    if not value > 0:
        raise ValueError(f"{name}={value} must be above 0.")
    return float(value)


def check_eps(eps: float) -> float:
    """The radius of an L-inf ball, in intensity levels (0-255 scale)."""
    if not 0 < eps <= 255:
        raise ValueError(f"eps={eps} must be above 0 and at most 255: intensity levels on the 0-255 scale.")
    return float(eps)


def check_choice(name: str, value: str | None, choices: Collection[str | None]) -> None:
    """One of several values."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, choices))}.")


def check_image_values(image: torch.Tensor) -> None:
    """An image whose voxels are all finite."""
    if not torch.isfinite(image).all():
        count = int((~torch.isfinite(image)).sum())
        raise ValueError(f"image holds {count} NaN or infinite voxels; repair or exclude it first.")


def check_label(label: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """A label ``(B, 1 or classes, *spatial)`` that fits an image ``(B, C, *spatial)``, as a plain int64 tensor."""
    plain: torch.Tensor = convert_to_tensor(label, track_meta=False)
    if plain.ndim != image.ndim or plain.shape[0] != image.shape[0] or plain.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"label of shape {tuple(plain.shape)} does not fit an image of {tuple(image.shape)}: batch and spatial "
            "axes must be the same, with one channel (class map) or one per class."
        )
    if plain.is_floating_point() and not torch.equal(plain, plain.round()):  # also catches NaN
        raise ValueError("label must hold integers; resample label maps with mode='nearest'.")
    if plain.min() < 0:
        raise ValueError(f"label holds {int(plain.min())}; classes start at 0.")
    return plain.detach().long()


def value_range(image: torch.Tensor, intensity_range: Sequence[float] | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest value and width (1 if constant) of each volume's range, shaped to broadcast against the batch."""
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
            f"intensity_range=({low:g}, {high:g}); give the range that your preprocessing leads to, or None for the "
            "own range of each volume."
        )
    return torch.full_like(lowest, low).reshape(shape), torch.full_like(lowest, high - low).reshape(shape)
