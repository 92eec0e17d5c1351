# SPDX-License-Identifier: Apache-2.0
"""How far an adversarial image is from the clean one, and how much of the prediction it changed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from monai_vafa.frequency.precision import full_precision
from monai_vafa.outputs import check_tensor, check_unit


def linf_distance(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """
    Largest change of any voxel, in intensity levels (0-255 scale).

    Args:
        y_pred: adversarial image ``(B, C, *spatial)``, values in [0, 1].
        y: clean image, same shape.

    Returns:
        ``(B,)``, in [0, 255].
    """
    return 255 * _difference(y_pred, y).abs().amax(1)


def rmse_distance(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Root mean square change of the voxels, in intensity levels (0-255 scale); called like :func:`linf_distance`."""
    return 255 * _difference(y_pred, y).square().mean(1).sqrt()


def changed_voxel_rate(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """
    Share of voxels whose predicted class has changed; where classes may overlap, any of their classes.

    Args:
        y_pred: predicted class map ``(B, 1, *spatial)``, or 0 and 1 ``(B, classes, *spatial)``.
        y: same shape, predicted on the clean image.

    Returns:
        ``(B,)``, in [0, 1].
    """
    _check_pair(check_tensor, y_pred, y)
    return (y_pred != y).any(1).flatten(1).float().mean(1)


@full_precision
def _difference(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    _check_pair(check_unit, y_pred, y)
    if not y_pred.is_floating_point() or not y.is_floating_point():  # unsigned integers would wrap around
        y_pred, y = y_pred.float(), y.float()
    return (y_pred - y).flatten(1)


def _check_pair(check: Callable[[str, torch.Tensor], None], y_pred: torch.Tensor, y: torch.Tensor) -> None:
    check("y_pred", y_pred)
    check("y", y)
    if y_pred.shape != y.shape:
        raise ValueError(
            f"y_pred and y must have the same shape (B, C, *spatial), got {tuple(y_pred.shape)} and {tuple(y.shape)}."
        )
