# SPDX-License-Identifier: Apache-2.0
"""Scores of one case: how much broke, and how visible the change is."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.metrics import (
    CumulativeIterationMetric,
    DiceMetric,
    HausdorffDistanceMetric,
    MeanIoU,
    PSNRMetric,
    SurfaceDiceMetric,
    SurfaceDistanceMetric,
)
from monai.networks import one_hot

from monai_vafa.metrics import FittingSSIMMetric, LPIPSMetric, SliceSimilarityMetric, linf_distance, rmse_distance
from monai_vafa.outputs import check_class_channels
from monai_vafa.results.schema import CASE_KEYS, METRIC_KEYS
from monai_vafa.results.statistics import column_means
from monai_vafa.target import Target

# Metrics whose worst value is 0, and those whose worst value is the diagonal of the image.
_OVERLAPS = (DiceMetric, MeanIoU, SurfaceDiceMetric)
_DISTANCES = (HausdorffDistanceMetric, SurfaceDistanceMetric)


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
    LPIPS, SSIM, HaarPSI, GMSD and PSNR; what is not installed is ``None``, and a warning says how to get it.

    Args:
        spatial_dims: of the images, 2 or 3.
        device: where LPIPS is computed.
        lpips_trunk: AlexNet weights for LPIPS, see :class:`monai_vafa.metrics.LPIPSMetric`.
    """
    return {
        "lpips": LPIPSMetric.if_available(trunk=lpips_trunk, device=device, skip_small=True),
        "ssim": FittingSSIMMetric(spatial_dims=spatial_dims),
        "haarpsi": SliceSimilarityMetric.if_available("haarpsi", skip_small=True),
        "gmsd": SliceSimilarityMetric.if_available("gmsd", skip_small=True),
        "psnr": PSNRMetric(max_val=1.0),
    }


def segmentation_scores(
    metrics: Mapping[str, CumulativeIterationMetric], prediction: torch.Tensor, label: torch.Tensor
) -> dict[str, list[float]]:
    """
    Value of each metric of one-hot volumes for each class.

    A class in neither label nor prediction has none (NaN). One in only one of them gets the worst value, 0, or of a
    distance the diagonal of the image in voxels, so that erasing a structure never improves a mean. Metrics that are
    not known here keep theirs, infinite where undefined, which makes the mean undefined.
    """
    # MONAI's metrics do not agree on a class that is in one of both: some give 0, some NaN, some infinity.
    here, there = (labels.flatten(2).any(2).flatten().tolist() for labels in (prediction, label))
    diagonal = math.sqrt(sum(side**2 for side in label.shape[2:]))
    scores = {}
    for name, metric in metrics.items():
        values = _values(metric, prediction, label)
        if len(values) != len(there):
            raise ValueError(
                f"segmentation_metrics[{name!r}] gives {len(values)} values for {len(there)} classes; it needs "
                "include_background=True and reduction='none'."
            )
        worst = diagonal if isinstance(metric, _DISTANCES) else 0.0 if isinstance(metric, _OVERLAPS) else None
        for i, sides in enumerate(zip(here, there, strict=True)):
            if not any(sides):
                values[i] = math.nan
            elif not all(sides) and worst is not None:
                values[i] = worst
            elif math.isnan(values[i]):
                values[i] = math.inf
        scores[name] = values
    return scores


def one_hot_pair(target: Target, prediction: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as MONAI's metrics take them, ``(1, classes, *spatial)`` of 0 and 1; all 0 where there is no label."""
    void = void_voxels(target, label)

    def one_hot_of(labels: torch.Tensor) -> torch.Tensor:
        labels = labels.masked_fill(void, 0)
        several = labels.float() if target.activation == "sigmoid" else one_hot(labels, len(target.class_names))
        return several.masked_fill(void, 0)

    return one_hot_of(prediction), one_hot_of(label)


def check_classes(target: Target, label: torch.Tensor) -> None:
    """Refuse labels that the network does not know."""
    label, classes = label.masked_fill(void_voxels(target, label), 0), len(target.class_names)
    if target.activation == "sigmoid":
        check_class_channels(label, classes)
    elif label.shape[1] != 1:
        raise ValueError(f"label has {label.shape[1]} channels, but classes that exclude each other take a class map.")
    elif label.min() < 0 or label.max() >= classes:
        raise ValueError(
            f"label holds classes {int(label.min())} to {int(label.max())}, but the network knows 0 to {classes - 1}; "
            "map the labels to the network's classes"
            + (", or give activation='sigmoid' for a network with one channel." if classes == 1 else ".")
        )


def void_voxels(target: Target, label: torch.Tensor) -> torch.Tensor:
    """Where there is no label, ``(1, 1, *spatial)``; such voxels are left out of scores."""
    if target.ignore_label is None:
        return torch.zeros_like(label[:, :1], dtype=torch.bool)
    return (label == target.ignore_label).all(1, keepdim=True)


def class_means(per_class: Mapping[str, Sequence[float]], activation: str = "softmax") -> dict[str, float]:
    """Mean of each metric over the classes that a case has, with background (as in the paper) and without."""
    first = 1 if activation == "softmax" else 0
    means = {}
    for name, values in per_class.items():
        means[name], means[f"{name}_foreground"] = _nan_mean(values), _nan_mean(values[first:])
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
    mean = float(torch.tensor(values).nanmean())
    return mean if math.isfinite(mean) else math.nan


def _values(metric: CumulativeIterationMetric, y_pred: torch.Tensor, y: torch.Tensor) -> list[float]:
    values = torch.as_tensor(metric(y_pred=y_pred, y=y)).flatten().float()
    metric.reset()
    return [float(value) if torch.isfinite(value) else float("nan") for value in values]


def mean_rows(
    cases: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]], attacks: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """
    Mean of each column over the cases, for each attack that has rows: summary.json's "means".

    Under "undefined", the number of cases without a value, for each column whose mean is over the others.
    """
    result: dict[str, Any] = {}
    for attack in attacks:
        rows, per_class = ([row for row in table if row["attack"] == attack] for table in (cases, metrics))
        if rows:
            means: dict[str, Any] = dict(column_means(rows, CASE_KEYS))
            empty = {c: sum(not row.get(c) for row in rows) for c, mean in means.items() if mean is not None}
            if undefined := {column: count for column, count in empty.items() if count}:
                means["undefined"] = undefined
            classes = dict.fromkeys(row["class"] for row in per_class)
            means["classes"] = {
                c: column_means([r for r in per_class if r["class"] == c], METRIC_KEYS) for c in classes
            }
            result[attack] = means
    return result
