# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""How far an adversarial image is from the clean one, and how much of the prediction it changed."""

from __future__ import annotations

import torch

__all__ = ["changed_voxel_rate", "linf_distance", "rmse_distance"]


def linf_distance(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """
    Largest change of any voxel, in intensity levels (0-255 scale).

    Args:
        y_pred: adversarial image ``(B, C, *spatial)``, values in [0, 1].
        y: clean image, same shape.

    Returns:
        ``(B,)``, in [0, 255].
    """
    return 255 * (y_pred - y).abs().flatten(1).amax(1)


def rmse_distance(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """
    Root mean square change of the voxels, in intensity levels (0-255 scale).

    Args:
        y_pred: adversarial image ``(B, C, *spatial)``, values in [0, 1].
        y: clean image, same shape.

    Returns:
        ``(B,)``, in [0, 255].
    """
    return 255 * (y_pred - y).square().flatten(1).mean(1).sqrt()


def changed_voxel_rate(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """
    Share of voxels whose predicted class has changed; where classes may overlap, any of their classes.

    Args:
        y_pred: predicted class map ``(B, 1, *spatial)``, or 0 and 1 ``(B, classes, *spatial)``.
        y: same shape, predicted on the clean image.

    Returns:
        ``(B,)``, in [0, 1].
    """
    return (y_pred != y).any(1).flatten(1).float().mean(1)
