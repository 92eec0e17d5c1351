# SPDX-License-Identifier: Apache-2.0
"""Likeness of volumes, measured on their slices."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from monai.metrics.regression import RegressionMetric
from monai.utils import convert_data_type

from monai_vafa.outputs import check_unit

from .trunk import TrunkUnavailable

logger = logging.getLogger(__name__)

Measure = Literal["haarpsi", "gmsd"]

# Parameters of piq, and the smallest side: GMSD has a filter of three pixels at half the resolution.
_MEASURES = {"haarpsi": ({"c": 5.0, "alpha": 4.9}, 16), "gmsd": ({}, 6)}


class SliceMetric(RegressionMetric):
    """Base of metrics that compare the slices of volumes along the last axis, channel by channel, and average."""

    name: str  # of what compares two slices
    min_side: int  # of a slice
    batch_size = 16  # slices that are compared at a time
    device: torch.device | None = None
    skip_small = False

    @classmethod
    def if_available(cls, *args: Any, **parameters: Any) -> SliceMetric | None:
        """The metric with these arguments, or ``None`` and a warning on how to get what it needs."""
        try:
            return cls(*args, **parameters)
        except (ImportError, TrunkUnavailable) as error:
            logger.warning("a metric is left out: %s", error)
            return None

    def _compute_metric(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Value ``(B, 1)`` of volumes ``(B, C, H, W, D)`` or images ``(B, C, H, W)`` with values in [0, 1]."""
        for name, value in (("y_pred", y_pred), ("y", y)):
            check_unit(name, value)
        if y_pred.ndim not in (4, 5):
            raise ValueError(f"y_pred and y must be (B, C, H, W) or (B, C, H, W, D), got {y_pred.ndim} dimensions")
        height, width = y_pred.shape[2:4]
        if min(height, width) < self.min_side:
            if self.skip_small:
                return torch.full((y_pred.shape[0], 1), torch.nan, device=y_pred.device)
            side = self.min_side
            raise ValueError(f"{self.name} needs slices of at least {side} x {side}, got {height} x {width}")

        device = self.device or y_pred.device
        plain = (convert_data_type(volumes, torch.Tensor)[0] for volumes in (y_pred, y))
        slices = ((v.movedim(-1, 2) if v.ndim == 5 else v).reshape(-1, 1, height, width) for v in plain)
        chunks = zip(*(images.split(self.batch_size) for images in slices), strict=True)
        # Autocast would compute in half precision.
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            values = [self._compare(*(part.to(device, torch.float32) for part in pair)) for pair in chunks]
        return torch.cat(values).view(y_pred.shape[0], -1).mean(dim=1, keepdim=True).to(y_pred.device)

    def _compare(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """One value for each of N slices (N, 1, H, W)."""
        raise NotImplementedError


class SliceSimilarityMetric(SliceMetric):
    """HaarPSI or GMSD of volumes, slice by slice, by the package piq; no attack of this package optimises them.

    Args:
        measure: ``"haarpsi"``, the Haar wavelet-based perceptual similarity index (Reisenhofer et al., 2018) in its
            setting for medical images, HaarPSI_MED: C = 5 and alpha = 4.9 (Karner et al., ISBI 2025, arXiv 2410.24098);
            in [0, 1], 1 for identical volumes, of slices of 16 x 16 or larger. ``"gmsd"``, the gradient magnitude
            similarity deviation (Xue et al., 2014, arXiv 1308.3052), a distance in [0, 0.5], of 6 x 6 or larger.
        reduction, skip_small: see :class:`LPIPSMetric`.

    Raises:
        ImportError: If piq is not installed.
    """

    def __init__(self, measure: Measure, reduction: str = "mean", *, skip_small: bool = False) -> None:
        if measure not in _MEASURES:
            raise ValueError(f"measure={measure!r} must be 'haarpsi' or 'gmsd'.")
        super().__init__(reduction=reduction)
        try:
            import piq
        except ImportError as error:
            raise ImportError(f'{measure} needs the package piq ({error}): pip install "monai_vafa[judges]"') from error
        self.name, self.function = measure, getattr(piq, measure)
        self.parameters, self.min_side = _MEASURES[measure]
        self.skip_small = skip_small

    def _compare(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        values = self.function(y_pred.clamp(0, 1), y.clamp(0, 1), reduction="none", **self.parameters)
        return torch.as_tensor(values).clamp(max=1)  # HaarPSI is infinite for two empty slices
