# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of one case: how much broke, and how visible the change is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from monai.metrics import CumulativeIterationMetric, DiceMetric, HausdorffDistanceMetric, PSNRMetric, SurfaceDiceMetric
from monai.networks import one_hot

from monai_vafa.metrics import FittingSSIMMetric, linf_distance, lpips_if_available, rmse_distance
from monai_vafa.outputs import check_class_channels

__all__ = [
    "class_means",
    "default_segmentation_metrics",
    "default_visibility_metrics",
    "one_hot_labels",
    "segmentation_scores",
    "visibility_scores",
]


def default_segmentation_metrics(class_names: Sequence[str]) -> dict[str, CumulativeIterationMetric]:
    """DSC, HD95 and NSD (surface Dice at a tolerance of one voxel), a value for each class."""
    return {
        "dsc": DiceMetric(include_background=True, reduction="none"),
        "hd95": HausdorffDistanceMetric(include_background=True, percentile=95, reduction="none"),
        "nsd": SurfaceDiceMetric([1.0] * len(class_names), include_background=True, reduction="none"),
    }


def default_visibility_metrics(
    spatial_dims: int = 3, *, device: torch.device | str = "cpu", lpips_trunk: str | os.PathLike | None = None
) -> dict[str, CumulativeIterationMetric | None]:
    """
    LPIPS, SSIM and PSNR.

    Args:
        spatial_dims: of the images, 2 or 3.
        device: where LPIPS is computed.
        lpips_trunk: AlexNet weights for LPIPS, see :class:`monai_vafa.metrics.LPIPSMetric`; without any, LPIPS is
            ``None`` and a warning says how to get them.
    """
    return {
        "lpips": lpips_if_available(trunk=lpips_trunk, device=device, skip_small=True),
        "ssim": FittingSSIMMetric(spatial_dims=spatial_dims),
        "psnr": PSNRMetric(max_val=1.0),
    }


def segmentation_scores(
    metrics: Mapping[str, CumulativeIterationMetric], prediction: torch.Tensor, label: torch.Tensor
) -> dict[str, list[float]]:
    """Value of each metric of one-hot volumes for each class; NaN where the class is absent or the value undefined."""
    # MONAI's metrics do not agree on a class that is predicted but absent: some give 0, some NaN.
    present = label.flatten(2).any(2).flatten().tolist()
    scores = {}
    for name, metric in metrics.items():
        values = _values(metric, prediction, label)
        if len(values) != len(present):
            raise ValueError(
                f"segmentation_metrics[{name!r}] gives {len(values)} values for {len(present)} classes; it needs "
                "include_background=True and reduction='none'."
            )
        scores[name] = [value if there else float("nan") for value, there in zip(values, present, strict=True)]
    return scores


def one_hot_labels(label: torch.Tensor, num_classes: int, activation: str) -> torch.Tensor:
    """Labels as MONAI's metrics take them, ``(1, num_classes, *spatial)`` of 0 and 1."""
    if activation == "sigmoid":
        check_class_channels(label, num_classes)
        return label.float()
    if label.min() < 0 or label.max() >= num_classes:
        raise ValueError(
            f"label holds classes {int(label.min())} to {int(label.max())}, but the network knows 0 to "
            f"{num_classes - 1}; map the labels to the network's classes"
            + (", or give activation='sigmoid' for a network with one channel." if num_classes == 1 else ".")
        )
    return one_hot(label, num_classes)


def class_means(per_class: Mapping[str, Sequence[float]], activation: str = "softmax") -> dict[str, float]:
    """Mean of each metric over the classes for which it is defined, with background (as in the paper) and without."""
    first = 1 if activation == "softmax" else 0
    means = {}
    for name, values in per_class.items():
        means[name] = _nan_mean(values)
        means[f"{name}_foreground"] = _nan_mean(values[first:])
    return means


def visibility_scores(
    metrics: Mapping[str, CumulativeIterationMetric | None],
    adversarial: torch.Tensor,
    clean: torch.Tensor,
    intensity_range: Sequence[float] | None,
) -> dict[str, float | None]:
    """Value of each image metric on [0, 1], with L-inf and RMSE in intensity levels (0-255 scale)."""
    low, high = intensity_range or (float(clean.min()), float(clean.max()))
    width = (high - low) or 1.0
    y_pred, y = (adversarial - low) / width, (clean - low) / width
    scores: dict[str, float | None] = {
        name: None if metric is None else _nan_mean(_values(metric, y_pred, y)) for name, metric in metrics.items()
    }
    return {**scores, "linf": float(linf_distance(y_pred, y)), "rmse": float(rmse_distance(y_pred, y))}


def _nan_mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values).nanmean())


def _values(metric: CumulativeIterationMetric, y_pred: torch.Tensor, y: torch.Tensor) -> list[float]:
    values = torch.as_tensor(metric(y_pred=y_pred, y=y)).flatten().float()
    metric.reset()
    return [float(value) if torch.isfinite(value) else float("nan") for value in values]
