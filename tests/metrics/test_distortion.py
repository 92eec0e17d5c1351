# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from monai_vafa.metrics import changed_voxel_rate


def test_share_of_voxels_with_another_class():
    clean = torch.tensor([0, 1, 2, 2]).reshape(1, 1, 4, 1, 1)
    attacked = torch.tensor([0, 2, 2, 1]).reshape(1, 1, 4, 1, 1)
    assert changed_voxel_rate(attacked, clean).tolist() == [0.5]


def test_of_classes_that_overlap_any_counts_but_each_voxel_only_once():
    clean = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]]).reshape(1, 2, 4, 1)
    attacked = torch.tensor([[0, 0, 1, 0], [0, 0, 1, 0]]).reshape(1, 2, 4, 1)
    assert changed_voxel_rate(torch.cat([attacked, clean]), torch.cat([clean, clean])).tolist() == [0.5, 0.0]
