# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.metrics import SSIMMetric

from monai_vafa.metrics import FittingSSIMMetric


def pair(*shape):
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(1, 1, *shape, generator=generator)
    return {"y_pred": (clean + 0.1 * torch.rand(clean.shape, generator=generator)).clamp(0, 1), "y": clean}


@pytest.mark.parametrize("shape", [(16, 12, 11), (20, 11)])
def test_is_monais_where_that_works(shape):
    expected = SSIMMetric(spatial_dims=len(shape))(**pair(*shape))
    assert torch.equal(FittingSSIMMetric(spatial_dims=len(shape))(**pair(*shape)), expected)


@pytest.mark.parametrize(("depth", "window"), [(10, 9), (9, 9), (2, 1), (1, 1)])
def test_window_shrinks_along_thin_axes_only(depth, window):
    metric = FittingSSIMMetric(spatial_dims=3)
    volumes = pair(16, 14, depth)
    with pytest.raises(RuntimeError):
        SSIMMetric(spatial_dims=3)(**volumes)
    expected = SSIMMetric(spatial_dims=3, win_size=(11, 11, window))(**volumes)
    assert torch.equal(metric(**volumes), expected)
    # and grows again
    assert torch.equal(metric(**pair(12, 12, 12)), SSIMMetric(spatial_dims=3)(**pair(12, 12, 12)))


def test_values_beyond_the_data_range_are_refused_and_the_way_out_works():
    x, y = torch.rand(2, 1, 1, 16, 16, 16)
    with pytest.raises(ValueError, match="data_range must have values in"):
        FittingSSIMMetric(spatial_dims=3)(x * 255, y * 255)
    scaled = FittingSSIMMetric(spatial_dims=3, data_range=255)(x * 255, y * 255)
    assert scaled.item() == pytest.approx(FittingSSIMMetric(spatial_dims=3)(x, y).item(), abs=1e-4)
