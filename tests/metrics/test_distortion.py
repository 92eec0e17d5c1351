# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_vafa.metrics import changed_voxel_rate, linf_distance, rmse_distance


def test_share_of_voxels_with_another_class():
    clean = torch.tensor([0, 1, 2, 2]).reshape(1, 1, 4, 1, 1)
    attacked = torch.tensor([0, 2, 2, 1]).reshape(1, 1, 4, 1, 1)
    assert changed_voxel_rate(attacked, clean).tolist() == [0.5]


def test_of_classes_that_overlap_any_counts_but_each_voxel_only_once():
    clean = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]]).reshape(1, 2, 4, 1)
    attacked = torch.tensor([[0, 0, 1, 0], [0, 0, 1, 0]]).reshape(1, 2, 4, 1)
    assert changed_voxel_rate(torch.cat([attacked, clean]), torch.cat([clean, clean])).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("distance", [linf_distance, rmse_distance])
def test_distances_refuse_other_shapes_and_scales(distance):
    with pytest.raises(ValueError, match="same shape"):
        distance(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"y_pred must have values in \[0, 1\]"):
        distance(torch.full((1, 1, 4, 4), 255.0), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="not empty"):
        distance(torch.zeros(1, 1, 4, 0), torch.zeros(1, 1, 4, 0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float16])
def test_distances_of_any_dtype(dtype):
    x, y = torch.zeros(1, 1, 4, 4, dtype=dtype), torch.ones(1, 1, 4, 4, dtype=dtype)
    assert linf_distance(x, y).tolist() == rmse_distance(x, y).tolist() == [255]


def test_changed_voxels_refuse_other_shapes():
    with pytest.raises(ValueError, match="same shape"):
        changed_voxel_rate(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
