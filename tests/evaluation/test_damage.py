# SPDX-License-Identifier: Apache-2.0
"""Damage is never an improvement, whatever is undefined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import CumulativeIterationMetric, MeanIoU, SurfaceDistanceMetric

from monai_vafa.evaluation import default_segmentation_metrics
from monai_vafa.evaluation.scoring import class_means, mean_rows, segmentation_scores
from monai_vafa.report.tables import run_notes

SIDES = (12, 10, 8)
NAMES = ["background", "a", "b"]
METRICS = {
    **default_segmentation_metrics(NAMES),
    "iou": MeanIoU(reduction="none"),
    "distance": SurfaceDistanceMetric(include_background=True, symmetric=True),
}
HIGHER_IS_WORSE = ("hd95", "distance")


def volume(*classes):
    """One-hot map with a cube of each class."""
    label = torch.zeros(SIDES, dtype=torch.int64)
    for c in classes:
        label[3 * c : 3 * c + 3, 2:6, 2:5] = c
    return torch.nn.functional.one_hot(label, 3).permute(3, 0, 1, 2)[None].float()


def scores(prediction, label):
    return segmentation_scores(METRICS, prediction, label)


@pytest.mark.parametrize(("predicted", "labelled"), [((1,), (1, 2)), ((1, 2), (1,)), ((), (1, 2)), ((1, 2), ())])
def test_a_class_on_one_side_gets_the_worst_value(predicted, labelled):
    values = scores(volume(*predicted), volume(*labelled))
    diagonal = np.linalg.norm(SIDES)
    for c in set(predicted) ^ set(labelled):
        for name in METRICS:
            assert values[name][c] == pytest.approx(diagonal if name in HIGHER_IS_WORSE else 0, rel=1e-6), name


def test_a_class_on_neither_side_is_left_out():
    values = scores(volume(1), volume(1))
    assert all(np.isnan(values[name][2]) for name in METRICS)
    means = class_means(values)
    assert means["dsc"] == means["nsd_foreground"] == means["iou"] == 1
    assert means["hd95"] == means["distance_foreground"] == 0


@pytest.mark.parametrize("erased", [1, 2])
def test_erasing_a_structure_improves_no_mean(erased):
    label = volume(1, 2)
    hit = label.roll(2, 3)
    gone = torch.where(hit[:, erased : erased + 1] > 0, torch.eye(3)[0].reshape(1, 3, 1, 1, 1), hit)
    before, after = (class_means(scores(p, label)) for p in (hit, gone))
    for name in before:
        worse = after[name] >= before[name] if name.startswith(HIGHER_IS_WORSE) else after[name] <= before[name]
        assert worse, (name, before[name], after[name])


class Ratio(CumulativeIterationMetric):
    """A metric of somebody else, undefined where the label or the prediction is empty."""

    def _compute_tensor(self, y_pred, y):
        y_pred, y = y_pred.flatten(2).sum(2), y.flatten(2).sum(2)
        return torch.where((y > 0) & (y_pred > 0), y_pred / y, torch.nan)


def test_undefined_values_of_other_metrics_make_the_mean_undefined():
    values = segmentation_scores({"ratio": Ratio()}, volume(1), volume(1, 2))
    assert np.isnan(class_means(values)["ratio"])
    assert class_means(segmentation_scores({"ratio": Ratio()}, volume(1), volume(1)))["ratio"] == 1


def test_the_count_stands_beside_means_over_fewer_cases():
    cases = [{"case": c, "attack": "pgd", "ratio": v} for c, v in (("a", "0.5"), ("b", ""), ("c", "1"))]
    means = mean_rows(cases, [], ["pgd"])
    assert means["pgd"]["ratio"] == 0.75
    summary = {"cases": {"a": "", "b": "", "c": ""}, "attacks": {}, "unmeasured": [], "means": means}
    assert run_notes(summary, cases)[1:] == ["ratio under pgd is undefined for 1 cases; its mean is over the others."]
