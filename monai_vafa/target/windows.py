# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""How much of an image a network sees at once, and which blocks fit into that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.inferers import Inferer, SliceInferer
from monai.utils import ensure_tuple, ensure_tuple_rep

__all__ = ["fitting_block_size", "fitting_sides", "image_window", "inferer_window"]

# Structural similarity of blocks looks at three voxels along an axis, or leaves the axis out.
_LEAST_SIDE = 3


def inferer_window(inferer: Inferer) -> tuple[int, ...] | int | None:
    """
    Window of an inferer.

    Args:
        inferer: of a bundle.

    Returns:
        a side per axis of the image, or one for all; -1 for the image's own side. ``None`` when the inferer has no
        window and takes the whole image.
    """
    roi_size = getattr(inferer, "roi_size", None)
    if isinstance(inferer, SliceInferer):
        sides = list(inferer.orig_roi_size)
        sides.insert(inferer.spatial_dim, 1)
        return tuple(sides)
    if roi_size is None or isinstance(roi_size, int):
        return roi_size
    return tuple(side if side and side > 0 else -1 for side in ensure_tuple(roi_size))


def image_window(roi_size: tuple[int, ...] | int | None, metadata: Mapping[str, Any]) -> tuple[int, ...]:
    """
    Sides of what a network sees at once.

    Args:
        roi_size: what :func:`inferer_window` gives.
        metadata: content of ``metadata.json``, whose ``spatial_shape`` stands in for what the inferer leaves open.

    Returns:
        a side per axis of the image, -1 where neither tells.
    """
    shape = metadata["network_data_format"]["inputs"]["image"].get("spatial_shape") or [None] * 3
    told = [side if isinstance(side, int) and side > 0 else -1 for side in shape]
    if roi_size is None:
        return tuple(told)
    if isinstance(roi_size, int):
        return ensure_tuple_rep(roi_size, len(told))
    if len(roi_size) != len(told):
        return roi_size
    return tuple(own if own > 0 else other for own, other in zip(roi_size, told, strict=True))


def fitting_sides(window: Sequence[int], largest: int) -> list[int]:
    """
    Sides of the largest block that fits a window.

    Args:
        window: a side per axis, -1 where it is free.
        largest: the most that a side may have.

    Returns:
        a side per axis; 1 where the window is too thin for structural similarity.
    """
    sides = [min(largest, side) if side > 0 else largest for side in window]
    return [side if side >= _LEAST_SIDE else 1 for side in sides]


def fitting_block_size(inferer: Inferer, largest: int = 32) -> int | list[int]:
    """
    Blocks that fit the windows of an inferer, for configs laid over a training.

    Args:
        inferer: of the validation.
        largest: the most that a side may have.

    Returns:
        a side per axis, or ``largest`` when the inferer has no window of its own.
    """
    window = inferer_window(inferer)
    if window is None or isinstance(window, int):
        return min(largest, window) if window and window > 0 else largest
    return fitting_sides(window, largest)
