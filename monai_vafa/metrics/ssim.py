# SPDX-License-Identifier: Apache-2.0
"""Structural similarity of images that are thinner than its window."""

from __future__ import annotations

import copy

import torch
from monai.metrics import SSIMMetric

from monai_vafa.frequency.precision import full_precision
from monai_vafa.outputs import check_unit


class FittingSSIMMetric(SSIMMetric):
    """
    MONAI's SSIM, with a window that shrinks along axes thinner than it.

    There the window becomes the largest odd number of voxels that fits; for all other images, ``(B, C, *spatial)`` in
    [0, ``data_range``], the value is MONAI's in float32, also under autocast, and never above 1. Constant images, whose
    contrast would be rounding alone, are compared by their values. Parameters: see :class:`monai.metrics.SSIMMetric`.
    """

    @full_precision
    def _compute_metric(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for name, image in (("y_pred", y_pred), ("y", y)):
            check_unit(f"{name} / data_range", image / self.data_range)
        if y.ndim != self.spatial_dims + 2:
            raise ValueError(f"y_pred and y must have {self.spatial_dims} spatial axes, got shape {tuple(y.shape)}.")
        fitting = copy.copy(self)
        sides = y.shape[2:]
        fitting.kernel_size = [min(k, s - 1 + s % 2) for k, s in zip(self.kernel_size, sides, strict=True)]
        values = super(FittingSSIMMetric, fitting)._compute_metric(y_pred, y).clamp(max=1)
        (x_low, x_high), (y_low, y_high) = (torch.aminmax(v.flatten(2), dim=2) for v in (y_pred, y))
        constant = ((x_low == x_high) & (y_low == y_high)).all(1, keepdim=True)
        stability = (self.k1 * self.data_range) ** 2
        luminance = (2 * x_low * y_low + stability) / (x_low**2 + y_low**2 + stability)
        return torch.where(constant, luminance.mean(1, keepdim=True), values)
