# SPDX-License-Identifier: Apache-2.0
"""Structural similarity, block by block."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.utils import LossReduction
from torch.nn.modules.loss import _Loss

from monai_vafa.frequency import block_sides, split_blocks
from monai_vafa.frequency.precision import full_precision
from monai_vafa.outputs import check_unit

_WINDOW = 3
# Gaussian of sigma 1.5 over three voxels.
_SIDE, _CENTRE = (w / (1 + 2 * math.exp(-1 / 4.5)) for w in (math.exp(-1 / 4.5), 1.0))
_C1, _C2 = 0.01**2, 0.03**2


class BlockSSIMLoss(_Loss):
    """
    One minus the structural similarity of the blocks of two volumes (Hanif et al., MICCAI 2023, ``L_ssim`` in Eq. 2,
    as in the authors' code).

    Each block of each channel is compared as a separate image: Gaussian window of 3 voxels, sigma 1.5, no padding at
    its border, data range 1. A block whose SSIM is negative counts as 0.

    Args:
        block_size: block side in voxels, an int or one per axis; 1 leaves an axis out, so that ``(32, 32, 1)`` compares
            axial slices. All other sides must be at least 3.
        reduction: ``"mean"`` or ``"sum"`` over the batch, or ``"none"`` for one value per volume.
    """

    def __init__(self, block_size: int | Sequence[int] = 32, reduction: LossReduction | str = "mean") -> None:
        if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction={reduction!r} must be 'mean', 'sum' or 'none'.")
        super().__init__(reduction=LossReduction(reduction).value)
        self.block_size = block_size

    @full_precision
    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """
        Compare two batches of volumes.

        Args:
            input: ``(B, C, *spatial)``, values about [0, 1].
            target: same shape, values in [0, 1].

        Returns:
            loss in [0, 1], float32 or wider also under autocast: a scalar, or ``(B,)`` with ``reduction="none"``.

        Raises:
            ValueError: If the shapes differ, ``target`` has values outside [0, 1], or a block is too small.
        """
        check_unit("target", target)
        if input.shape != target.shape:
            raise ValueError(f"input and target must have the same shape, got {input.shape} and {target.shape}.")
        sides = [side for side in block_sides(self.block_size, input.ndim - 2) if side > 1]
        if len(sides) < 2 or min(sides) < _WINDOW:
            raise ValueError(
                f"block_size={self.block_size}: SSIM needs blocks of at least {_WINDOW} voxels along two or three axes "
                "(1 leaves an axis out); use larger blocks or similarity=None."
            )

        images = (split_blocks(volume, self.block_size).reshape(-1, *sides) for volume in (input, target))
        similarity = _ssim(*images).clamp(min=0)
        similarity = similarity - (similarity.detach() - 1).clamp(min=0)  # rounding may take it above 1
        loss = 1 - similarity.reshape(input.shape[0], -1).mean(1)
        if self.reduction == LossReduction.NONE:
            return loss
        return loss.mean() if self.reduction == LossReduction.MEAN else loss.sum()


def _ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean SSIM of each image ``(N, *spatial)``: the value of MONAI's ``compute_ssim_and_cs``, several times faster."""
    mean_x, mean_y, xx, yy, xy = _blur(torch.stack([x, y, x * x, y * y, x * y]))
    covariance, variances = xy - mean_x * mean_y, xx - mean_x.square() + yy - mean_y.square()
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
    return (luminance * (2 * covariance + _C2) / (variances + _C2)).flatten(1).mean(1)


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Gaussian window over all axes but the first two, without padding."""
    for axis in range(2, x.ndim):
        length = x.shape[axis] - 2
        ends = x.narrow(axis, 0, length) + x.narrow(axis, 2, length)
        x = torch.add(ends * _SIDE, x.narrow(axis, 1, length), alpha=_CENTRE)
    return x
