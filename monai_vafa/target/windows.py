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

# The structural similarity of blocks uses windows of three voxels, or leaves an axis out.
_SMALLEST_SIDE = 3


def inferer_window(inferer: Inferer) -> tuple[int, ...] | int | None:
    """Window of an inferer: a side for each axis or for all, -1 for that of the image; ``None`` for no window."""
    roi_size = getattr(inferer, "roi_size", None)
    if isinstance(inferer, SliceInferer):
        sides = list(inferer.orig_roi_size)
        sides.insert(inferer.spatial_dim, 1)
        return tuple(sides)
    if roi_size is None or isinstance(roi_size, int):
        return roi_size
    return tuple(side if side and side > 0 else -1 for side in ensure_tuple(roi_size))


def image_window(roi_size: tuple[int, ...] | int | None, metadata: Mapping[str, Any]) -> tuple[int, ...]:
    """Side for each axis that a network sees at once: that of the inferer, else of the metadata, else -1."""
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
    """Sides of the largest block that fits a window; 1 where the window is too thin for structural similarity."""
    sides = [min(largest, side) if side > 0 else largest for side in window]
    return [side if side >= _SMALLEST_SIDE else 1 for side in sides]


class SliceNetwork(torch.nn.Module):
    """Applies a 2-D network to each slice of a volume, so that volumes and windows of them can be attacked."""

    def __init__(self, network: torch.nn.Module, spatial_dim: int) -> None:
        super().__init__()
        self.network = network
        self.spatial_dim = spatial_dim

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of volumes ``(B, C, *volume)``, or of slices ``(B, C, H, W)``."""
        if image.ndim == 4:
            return as_logits(self.network(image))
        slices = image.movedim(self.spatial_dim + 2, 1)
        logits = as_logits(self.network(slices.flatten(0, 1)))
        return logits.unflatten(0, slices.shape[:2]).movedim(1, self.spatial_dim + 2)
