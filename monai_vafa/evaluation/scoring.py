# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of one case: how much broke, and how visible the change is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.metrics import CumulativeIterationMetric
from monai.networks import one_hot

from monai_vafa.metrics import linf_distance, rmse_distance
from monai_vafa.outputs import check_class_channels

__all__ = ["class_means", "segmentation_scores", "visibility_scores"]

_DISTANCES = {"linf": linf_distance, "rmse": rmse_distance}


def segmentation_scores(
    metrics: Mapping[str, CumulativeIterationMetric],
    prediction: torch.Tensor,
    label: torch.Tensor,
    num_classes: int,
    activation: str = "softmax",
) -> dict[str, list[float]]:
    """
    Value of each metric for each class; NaN where it is undefined (class absent from the label, or not predicted
    where the metric is a distance).

    Args:
        metrics: name -> metric of one-hot ``(y_pred, y)`` that gives a value per class.
        prediction: softmax: class map ``(1, 1, *spatial)``; sigmoid: 0 and 1, ``(1, num_classes, *spatial)``.
        label: same shape.
        num_classes: number of classes, for softmax background included.
        activation: ``"softmax"`` or ``"sigmoid"``.

    Raises:
        ValueError: When ``label`` holds a class that the network does not know, or a metric gives no value per class.
    """
    pair = _one_hot_pair(prediction, label, num_classes, activation)
    # MONAI's metrics do not agree on a class that is predicted but absent: some give 0, some NaN.
    present = pair["y"].flatten(2).any(2).flatten().tolist()
    scores = {}
    for name, metric in metrics.items():
        values = _values(metric, pair)
        if len(values) != num_classes:
            raise ValueError(
                f"segmentation_metrics[{name!r}] gives {len(values)} values for {num_classes} classes; it needs "
                "include_background=True and reduction='none'."
            )
        scores[name] = [value if there else float("nan") for value, there in zip(values, present, strict=True)]
    return scores


def _one_hot_pair(
    prediction: torch.Tensor, label: torch.Tensor, num_classes: int, activation: str
) -> dict[str, torch.Tensor]:
    """What MONAI's metrics take: ``(1, num_classes, *spatial)``, 0 and 1."""
    if activation == "sigmoid":
        check_class_channels(label, num_classes)
        return {"y_pred": prediction.float(), "y": label.float()}
    if label.min() < 0 or label.max() >= num_classes:
        raise ValueError(
            f"label holds classes {int(label.min())} to {int(label.max())}, but the network knows 0 to "
            f"{num_classes - 1}; map the labels to the network's classes"
            + (", or give activation='sigmoid' for a network with one channel." if num_classes == 1 else ".")
        )
    return {"y_pred": one_hot(prediction, num_classes), "y": one_hot(label, num_classes)}


def class_means(per_class: Mapping[str, Sequence[float]], activation: str = "softmax") -> dict[str, float]:
    """
    Mean of each metric over the classes for which it is defined, with background (as in the paper) and without.

    Sigmoid outputs have no background channel: all classes are foreground, and both means are over all of them.

    Args:
        per_class: metric -> value per class, for softmax background first.
        activation: ``"softmax"`` or ``"sigmoid"``.

    Returns:
        ``METRIC`` and ``METRIC_foreground``; NaN where no class has a value.
    """
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
    """
    Value of each image metric, with the L-inf and RMSE distances in gray values of 255.

    Args:
        metrics: name -> metric of ``(y_pred, y)`` in [0, 1]; ``None`` in place of one that can't be measured.
        adversarial: ``(1, C, *spatial)``.
        clean: same shape.
        intensity_range: values that become 0 and 1; ``None`` for the clean image's own range.
    """
    low, high = intensity_range or (float(clean.min()), float(clean.max()))
    width = (high - low) or 1.0
    pair = {"y_pred": (adversarial - low) / width, "y": (clean - low) / width}
    scores: dict[str, float | None] = {
        name: None if metric is None else _nan_mean(_values(metric, pair)) for name, metric in metrics.items()
    }
    distances = {name: distance(pair["y_pred"], pair["y"]) for name, distance in _DISTANCES.items()}
    return {**scores, **{name: float(value) for name, value in distances.items()}}


def _nan_mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values).nanmean())


def _values(metric: CumulativeIterationMetric, pair: Mapping[str, torch.Tensor]) -> list[float]:
    values = torch.as_tensor(metric(**pair)).flatten().float()
    metric.reset()
    return [float(value) if torch.isfinite(value) else float("nan") for value in values]
