# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import piq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_vafa.metrics import SliceSimilarityMetric

# piq's function with the parameters that the papers name
BY_HAND = {"haarpsi": lambda x, y: piq.haarpsi(x, y, data_range=1.0, c=5.0, alpha=4.9), "gmsd": piq.gmsd}
SAME = {"haarpsi": 1.0, "gmsd": 0.0}
LEAST = {"haarpsi": 16, "gmsd": 6}

every_measure = pytest.mark.parametrize("measure", BY_HAND)


def volumes(*shape, noise=0.1):
    generator = torch.Generator().manual_seed(1)
    clean = torch.rand(shape, generator=generator)
    return (clean + noise * torch.randn(shape, generator=generator)).clamp(0, 1), clean


@every_measure
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_library_called_slice_by_slice(measure, channels):
    x, y = volumes(2, channels, 20, 35, 18)
    value = SliceSimilarityMetric(measure)(y_pred=x, y=y)
    assert value.shape == (2, 1) and value.dtype == torch.float32
    for b in range(2):
        pairs = [(x[b, c, ..., d], y[b, c, ..., d]) for c in range(channels) for d in range(18)]
        each = [BY_HAND[measure](x[None, None], y[None, None]).item() for x, y in pairs]
        assert value[b].item() == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_haarpsi_has_the_constants_for_medical_images():
    """Value of the authors' implementation (github.com/ideal-iqa/haarpsi-pytorch) at C = 5, alpha = 4.9."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(40.0), indexing="ij")
    clean = 0.5 + 0.3 * torch.sin(rows / 3) * torch.cos(columns / 5)
    other = clean + 0.05 * torch.sin(rows) * torch.sin(columns)
    assert SliceSimilarityMetric("haarpsi")(other[None, None], clean[None, None]).item() == pytest.approx(
        0.8716, abs=1e-4
    )


@every_measure
@pytest.mark.parametrize("content", [0.0, 0.5, 1.0, None])
def test_equal_volumes_are_most_alike_also_without_contrast(measure, content):
    _, y = volumes(1, 1, 20, 20, 3)
    y = y if content is None else torch.full_like(y, content)
    assert SliceSimilarityMetric(measure)(y.clone(), y).item() == pytest.approx(SAME[measure], abs=2e-5)


@every_measure
@pytest.mark.parametrize("contents", [(0.0, 1e-9), (0.0, 1.0), (0.3, 0.6)])
def test_images_without_contrast_have_a_value(measure, contents):
    x, y = (torch.full((1, 1, 20, 20, 2), content) for content in contents)
    assert 0 <= SliceSimilarityMetric(measure)(x, y).item() <= 1


@every_measure
@given(st.floats(0.005, 0.4), st.floats(1.2, 5))
def test_more_noise_is_less_alike(measure, noise, factor):
    metric = SliceSimilarityMetric(measure)
    less, more = (metric(*volumes(1, 1, 24, 24, 2, noise=n)).item() for n in (noise, factor * noise))
    assert abs(more - SAME[measure]) > abs(less - SAME[measure])


@every_measure
def test_image_counts_as_one_slice(measure):
    x, y = volumes(2, 1, 32, 32)
    metric = SliceSimilarityMetric(measure)
    torch.testing.assert_close(metric(x, y), metric(x[..., None], y[..., None]))


@every_measure
def test_takes_meta_tensors_half_precision_autocast_and_rounded_edges(measure):
    x, y = volumes(1, 1, 20, 22, 2)
    metric = SliceSimilarityMetric(measure)
    expected = metric(x, y)
    assert type(metric(MetaTensor(x), MetaTensor(y))) is torch.Tensor
    torch.testing.assert_close(metric(x.half(), y.half()), expected, rtol=1e-2, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(metric(x, y), expected)
    # resampling and rounding leave [0, 1] by a little
    torch.testing.assert_close(metric(x * 1.01 - 0.005, y * 1.01 - 0.005), expected, rtol=0.1, atol=0)
    with pytest.raises(ValueError, match=r"must have values in \[0, 1\]"):
        metric(255 * x, 255 * y)


@every_measure
def test_small_slices_are_refused_or_left_out(measure):
    side = LEAST[measure]
    x, y = volumes(2, 1, side - 1, 40, 3)
    with pytest.raises(ValueError, match=f"{measure} needs slices of at least {side} x {side}, got {side - 1} x 40"):
        SliceSimilarityMetric(measure)(x, y)
    metric = SliceSimilarityMetric(measure, skip_small=True)
    assert metric(x, y).shape == (2, 1) and metric(x, y).isnan().all()
    assert metric(*volumes(1, 1, side, side, 1)).isfinite().all()


def test_unknown_measure_is_named():
    with pytest.raises(ValueError, match="measure='vif' must be 'haarpsi' or 'gmsd'"):
        SliceSimilarityMetric("vif")


@every_measure
def test_if_available_is_the_metric_as_it_was_asked_for(measure):
    metric = SliceSimilarityMetric.if_available(measure, skip_small=True)
    x, y = volumes(1, 1, 20, 20, 2)
    assert torch.equal(metric(x, y), SliceSimilarityMetric(measure)(x, y))
    assert metric(x[:, :, :5], y[:, :, :5]).isnan().all()


@every_measure
def test_without_piq_the_log_says_how_to_get_it(measure, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "piq", None)
    assert SliceSimilarityMetric.if_available(measure) is None
    assert f"a metric is left out: {measure} needs the package piq" in caplog.text
    assert 'pip install "monai_vafa[judges]"' in caplog.text
    with pytest.raises(ImportError, match="needs the package piq"):
        SliceSimilarityMetric(measure)
