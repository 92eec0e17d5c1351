# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""How far an adversarial image really is from the clean one, and how much of the prediction it moved."""

from __future__ import annotations

import torch

__all__ = ["changed_voxel_rate", "linf_distance", "rmse_distance"]


def linf_distance(adversarial: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """
    Largest change of any voxel, in gray values of 255.

    Args:
        adversarial: ``(B, C, *spatial)``, values in [0, 1].
        clean: same shape.

    Returns:
        ``(B,)``, in [0, 255].
    """
    return 255 * (adversarial - clean).abs().flatten(1).amax(1)


def rmse_distance(adversarial: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """
    Root mean square change of the voxels, in gray values of 255.

    Args:
        adversarial: ``(B, C, *spatial)``, values in [0, 1].
        clean: same shape.

    Returns:
        ``(B,)``, in [0, 255].
    """
    return 255 * (adversarial - clean).square().flatten(1).mean(1).sqrt()


def changed_voxel_rate(adversarial_labels: torch.Tensor, clean_labels: torch.Tensor) -> torch.Tensor:
    """
    Share of voxels to which the network gives another class than on the clean image; where classes may overlap, of
    which any class has changed.

    Args:
        adversarial_labels: predicted class map ``(B, 1, *spatial)``, or 0 and 1 ``(B, classes, *spatial)``.
        clean_labels: same shape, predicted on the clean image.

    Returns:
        ``(B,)``, in [0, 1].
    """
    return (adversarial_labels != clean_labels).any(1).flatten(1).float().mean(1)
