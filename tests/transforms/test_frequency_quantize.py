# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_vafa.frequency import quantize_image
from monai_vafa.transforms import FrequencyQuantize, FrequencyQuantized, RandFrequencyQuantize, RandFrequencyQuantized


@pytest.fixture
def array(image):
    return image[0]


def test_quantises(array):
    assert torch.equal(FrequencyQuantize(15, 8)(array), quantize_image(array[None], 15, 8)[0])


@pytest.mark.parametrize("kind", [lambda x: x.numpy(), lambda x: x, MetaTensor])
def test_the_kind_that_goes_in_comes_out(array, kind):
    assert type(FrequencyQuantize(15, 8)(kind(array))) is type(kind(array))


@pytest.mark.parametrize("shape", [(1, 40), (2, 9, 33), (1, 8, 9, 10)])
def test_one_to_three_dimensions(shape):
    assert FrequencyQuantize(10, 8)(torch.rand(shape)).shape == shape


def test_intensity_range(array):
    unit = FrequencyQuantize(15, 8)(array)
    hu = FrequencyQuantize(15, 8, intensity_range=(-175, 250))(array * 425 - 175)
    assert torch.allclose((hu + 175) / 425, unit, atol=1e-4)


def test_own_range_keeps_constant_images():
    assert torch.isfinite(FrequencyQuantize(15, 8, intensity_range=None)(torch.full((1, 8, 8, 8), 3.0))).all()


def test_random_step_follows_the_seed(array):
    draw = RandFrequencyQuantize(1.0, (5, 40), 8)
    first = draw.set_random_state(1)(array)
    assert torch.equal(draw.set_random_state(1)(array), first)
    assert not torch.equal(draw.set_random_state(2)(array), first)


def test_probability_zero_changes_nothing(array):
    assert RandFrequencyQuantize(0.0)(array) is array
    assert RandFrequencyQuantized("a", prob=0.0)({"a": array})["a"] is array


def test_keys_share_one_draw(array):
    transform = RandFrequencyQuantized(["a", "b"], prob=1.0, q_range=(5, 40), block_size=8).set_random_state(0)
    result = transform({"a": array, "b": array.numpy()})
    np.testing.assert_array_equal(result["a"].numpy(), result["b"])


def test_dictionary_version_skips_missing_keys(array):
    result = FrequencyQuantized(["a", "b"], 15, 8, allow_missing_keys=True)({"a": array})
    assert torch.equal(result["a"], FrequencyQuantize(15, 8)(array))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrequencyQuantize(0), "q=0"),
        (lambda: FrequencyQuantize(intensity_range=(1, 1)), "intensity_range"),
        (lambda: RandFrequencyQuantize(q_range=(9, 5)), "q_range"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
