# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks for slices, as networks for volumes."""

from __future__ import annotations

import torch

from monai_vafa.outputs import as_logits

__all__ = ["SliceNetwork"]


class SliceNetwork(torch.nn.Module):
    """
    Asks a network for images about each slice of a volume, so that volumes and windows of them can be attacked.

    Args:
        network: takes ``(B, C, H, W)``.
        spatial_dim: axis of the volume that counts the slices, as in :class:`monai.inferers.SliceInferer`.
    """

    def __init__(self, network: torch.nn.Module, spatial_dim: int) -> None:
        super().__init__()
        self.network = network
        self.spatial_dim = spatial_dim

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Logits of all slices.

        Args:
            image: ``(B, C, *volume)``; or slices ``(B, C, H, W)``, which go to the network as they are.

        Returns:
            logits of the same spatial shape.
        """
        if image.ndim == 4:
            return as_logits(self.network(image))
        slices = image.movedim(self.spatial_dim + 2, 1)
        logits = as_logits(self.network(slices.flatten(0, 1)))
        return logits.unflatten(0, slices.shape[:2]).movedim(1, self.spatial_dim + 2)
