# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""How much of an image a network sees at once, and which blocks fit into that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SliceInferer
from monai.utils import ensure_tuple, ensure_tuple_rep

from monai_vafa.outputs import as_logits

__all__ = ["SliceNetwork", "fitting_sides", "image_window", "inferer_window"]

# The structural similarity of blocks uses windows of three voxels, or leaves an axis out.
_SMALLEST_SIDE = 3


def inferer_window(inferer: Inferer) -> tuple[int, ...] | int | None:
    """
    Window of an inferer.

    Args:
        inferer: how a bundle segments a whole image.

    Returns:
        a side for each axis of the image, or one for all; -1 stands for the side of the image. ``None`` if the inferer
        takes the image as a whole.
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
        roi_size: window of the inferer, see :func:`inferer_window`.
        metadata: content of ``metadata.json``; its ``spatial_shape`` supplies sides that the inferer leaves open.

    Returns:
        a side for each axis of the image, -1 where neither gives one.
    """
    inputs = metadata["network_data_format"].get("inputs") or {}
    shape = (inputs.get("image") or {}).get("spatial_shape") or [None] * 3
    known = [side if isinstance(side, int) and side > 0 else -1 for side in shape]
    if roi_size is None:
        return tuple(known)
    if isinstance(roi_size, int):
        return ensure_tuple_rep(roi_size, len(known))
    if len(roi_size) != len(known):
        return roi_size
    return tuple(own if own > 0 else other for own, other in zip(roi_size, known, strict=True))


def fitting_sides(window: Sequence[int], largest: int) -> list[int]:
    """
    Sides of the largest block that fits a window.

    Args:
        window: a side for each axis, -1 for any.
        largest: upper limit of a side.

    Returns:
        a side for each axis; 1 where the window is too thin for structural similarity.
    """
    sides = [min(largest, side) if side > 0 else largest for side in window]
    return [side if side >= _SMALLEST_SIDE else 1 for side in sides]


class SliceNetwork(torch.nn.Module):
    """
    Applies a 2-D network to each slice of a volume, so that volumes and windows of them can be attacked.

    Args:
        network: takes ``(B, C, H, W)``.
        spatial_dim: spatial axis that counts the slices, as in :class:`monai.inferers.SliceInferer`.
    """

    def __init__(self, network: torch.nn.Module, spatial_dim: int) -> None:
        super().__init__()
        self.network = network
        self.spatial_dim = spatial_dim

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Logits of all slices.

        Args:
            image: volumes ``(B, C, *volume)``, or slices ``(B, C, H, W)``, which go to the network unchanged.

        Returns:
            logits of the same spatial shape.
        """
        if image.ndim == 4:
            return as_logits(self.network(image))
        slices = image.movedim(self.spatial_dim + 2, 1)
        logits = as_logits(self.network(slices.flatten(0, 1)))
        return logits.unflatten(0, slices.shape[:2]).movedim(1, self.spatial_dim + 2)


def fitting_block_size(inferer: Inferer, largest: int = 32) -> int | list[int]:
    """Blocks that fit the windows of an inferer."""
    window = inferer_window(inferer)
    if window is None or isinstance(window, int):
        return min(largest, window) if window and window > 0 else largest
    return fitting_sides(window, largest)
