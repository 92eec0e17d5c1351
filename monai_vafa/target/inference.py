# SPDX-License-Identifier: Apache-2.0
"""How a bundle asks its network: in which windows, slice by slice, for logits or probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.inferers import Inferer, SliceInferer
from monai.utils import ensure_tuple, ensure_tuple_rep

from monai_vafa.outputs import as_logits

# Sums of probabilities in half precision.
_TOLERANCE = 1e-2


def inferer_window(inferer: Inferer) -> tuple[int, ...] | int | None:
    """Window of an inferer: a side for each axis or for all, -1 for that of the image; ``None`` for no window."""
    if isinstance(inferer, SliceInferer):
        sides = list(inferer.orig_roi_size)
        sides.insert(inferer.spatial_dim, 1)
        return tuple(sides)
    roi_size = getattr(inferer, "roi_size", None)
    if roi_size is None or isinstance(roi_size, int):
        return roi_size
    return tuple(side if side and side > 0 else -1 for side in ensure_tuple(roi_size))


def image_window(roi_size: tuple[int, ...] | int | None, metadata: Mapping[str, Any]) -> tuple[int, ...]:
    """Side for each axis that a network sees at once: that of the inferer, else of the metadata, else -1."""
    shape = image_format(metadata).get("spatial_shape") or [None] * 3
    known = tuple(side if isinstance(side, int) and side > 0 else -1 for side in shape)
    if roi_size is None:
        return known
    if isinstance(roi_size, int):
        return ensure_tuple_rep(roi_size, len(known))
    if len(roi_size) != len(known):
        return roi_size
    return tuple(own if own > 0 else other for own, other in zip(roi_size, known, strict=True))


def image_format(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metadata.json`` says of the input image."""
    return ((metadata.get("network_data_format") or {}).get("inputs") or {}).get("image") or {}


def are_probabilities(output: torch.Tensor) -> bool:
    """Whether ``(B, classes, *spatial)`` are probabilities: logits of a whole image are negative somewhere."""
    low, high = output.aminmax()
    return bool(low >= 0 and high <= 1 and high > low)


def to_logits(probabilities: torch.Tensor) -> torch.Tensor:
    """Logits whose softmax, or sigmoid if they don't sum up to 1 over the classes, are these probabilities."""
    exact = probabilities.float()
    bounds = torch.finfo(torch.float32)
    if exact.shape[1] > 1 and (exact.sum(1) - 1).abs().max() <= _TOLERANCE:
        return exact.clamp_min(bounds.tiny).log()
    return exact.clamp(bounds.tiny, 1 - bounds.eps / 2).logit()


class LogitNetwork(torch.nn.Module):
    """Gives the logits of a network that ends in a softmax or sigmoid: attacks need what comes before it."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, classes, *spatial)``."""
        return to_logits(as_logits(self.network(image)))


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
