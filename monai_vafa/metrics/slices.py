# SPDX-License-Identifier: Apache-2.0
"""Similarity of images, measured on the slices of volumes."""

from __future__ import annotations

import logging
from typing import Literal

import torch
from monai.metrics.regression import RegressionMetric
from monai.utils import MetricReduction, convert_data_type

from monai_vafa.outputs import check_unit

logger = logging.getLogger(__name__)

# Parameters of piq, and the smallest side of a slice: GMSD has a filter of three pixels at half the resolution.
_MEASURES = {"haarpsi": ({"c": 5.0, "alpha": 4.9}, 16), "gmsd": ({}, 6)}


class SliceMetric(RegressionMetric):
    """
    Base of metrics that compare volumes slice by slice along the last axis, channel by channel, and take the mean.

    Args:
        name: what compares two slices, for messages.
        min_side: smallest height and width of a slice.
        reduction: see :class:`LPIPSMetric`, like all others.
    """

    def __init__(
        self,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        get_not_nans: bool = False,
        *,
        name: str,
        min_side: int,
        batch_size: int = 16,
        device: torch.device | str | None = None,
        skip_small: bool = False,
    ) -> None:
        super().__init__(reduction=reduction, get_not_nans=get_not_nans)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.name, self.min_side = name, min_side
        self.batch_size = batch_size
        self.device = torch.device(device) if device is not None else None
        self.skip_small = skip_small

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
            least = f"{self.min_side} x {self.min_side}"
            raise ValueError(f"{self.name} needs slices of at least {least}, got {height} x {width}")

        device = self.device or y_pred.device
        chunks = zip(_slices(y_pred).split(self.batch_size), _slices(y).split(self.batch_size), strict=True)
        # Autocast would compute in half precision.
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            values = [self._compare(*(part.to(device, torch.float32) for part in pair)) for pair in chunks]
        return torch.cat(values).view(y_pred.shape[0], -1).mean(dim=1, keepdim=True).to(y_pred.device)

    def _compare(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """One value for each of N slices (N, 1, H, W)."""
        raise NotImplementedError


class SliceSimilarityMetric(SliceMetric):
    """HaarPSI or GMSD of volumes, slice by slice: measures of likeness that no attack of this package optimises.

    Each slice along the last axis is an image of its own, as is each channel; the mean over them is taken. The values
    are those of the package piq.

    ``"haarpsi"`` is the Haar wavelet-based perceptual similarity index (Reisenhofer et al., Signal Processing: Image
    Communication 2018) with C = 5 and alpha = 4.9, its setting for medical images, HaarPSI_MED (Karner et al.,
    "Parameter choices in HaarPSI for IQA with medical images", ISBI 2025, arXiv 2410.24098). In [0, 1]; 1 for
    identical volumes. Slices must be 16 x 16 or larger.

    ``"gmsd"`` is the gradient magnitude similarity deviation (Xue et al., IEEE TIP 2014, arXiv 1308.3052), a distance:
    0 for identical volumes, at most 0.5. Slices must be 6 x 6 or larger.

    Args:
        measure: ``"haarpsi"`` or ``"gmsd"``.
        reduction: see :class:`LPIPSMetric`.
        get_not_nans: see :class:`LPIPSMetric`.
        device: where to compute; ``None`` computes where ``y_pred`` is.
        skip_small: return NaN for volumes whose slices are too small, instead of raising.

    Raises:
        ImportError: If piq is not installed.
        ValueError: If ``measure`` is neither of both.
    """

    def __init__(
        self,
        measure: Literal["haarpsi", "gmsd"],
        reduction: MetricReduction | str = MetricReduction.MEAN,
        get_not_nans: bool = False,
        *,
        device: torch.device | str | None = None,
        skip_small: bool = False,
    ) -> None:
        if measure not in _MEASURES:
            raise ValueError(f"measure={measure!r} must be 'haarpsi' or 'gmsd'.")
        self.parameters, side = _MEASURES[measure]
        super().__init__(reduction, get_not_nans, name=measure, min_side=side, device=device, skip_small=skip_small)
        try:
            import piq
        except ImportError as error:
            raise ImportError(f'{measure} needs the package piq ({error}): pip install "monai_vafa[judges]"') from error
        self.function = getattr(piq, measure)

    def _compare(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # Empty slices make HaarPSI infinite, and rounding may take it above 1.
        values = self.function(y_pred.clamp(0, 1), y.clamp(0, 1), reduction="none", **self.parameters)
        return torch.as_tensor(values).clamp(max=1)


def similarity_if_available(
    measure: Literal["haarpsi", "gmsd"], *, device: torch.device | str | None = None, skip_small: bool = False
) -> SliceSimilarityMetric | None:
    """:class:`SliceSimilarityMetric`, or ``None`` and a warning that says how to get piq if it is not installed."""
    try:
        return SliceSimilarityMetric(measure, device=device, skip_small=skip_small)
    except ImportError as error:
        logger.warning("%s will not be measured: %s", measure, error)
        return None


def _slices(volumes: torch.Tensor) -> torch.Tensor:
    """Lay the slices of volumes (B, C, H, W[, D]) out as single-channel images (B * C * D, 1, H, W)."""
    plain = convert_data_type(volumes, torch.Tensor)[0]
    if plain.ndim == 5:
        plain = plain.movedim(-1, 2)
    return plain.reshape(-1, 1, *plain.shape[-2:])
