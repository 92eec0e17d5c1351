# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Structural similarity of images that are thinner than its window."""

from __future__ import annotations

import copy

import torch
from monai.metrics import SSIMMetric

__all__ = ["FittingSSIMMetric"]


class FittingSSIMMetric(SSIMMetric):
    """
    MONAI's SSIM, with a window that shrinks along axes thinner than it.

    MONAI rejects such images, for example a heart of nine slices. Along a thin axis the window becomes the largest odd
    number of voxels that fits; for all other images the value is MONAI's.

    Parameters: see :class:`monai.metrics.SSIMMetric`.
    """

    def _compute_metric(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        fitting = copy.copy(self)
        sides = y.shape[2:]
        fitting.kernel_size = [min(k, s - 1 + s % 2) for k, s in zip(self.kernel_size, sides, strict=True)]
        return super(FittingSSIMMetric, fitting)._compute_metric(y_pred, y)
