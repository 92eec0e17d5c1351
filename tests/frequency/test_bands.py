# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_vafa.frequency import expand_bands, idct, in_plane_frequency


def test_frequency_is_that_of_the_cosine():
    """The coefficient's own basis function has its zeros where its frequency says."""
    frequency = in_plane_frequency((8, 8, 4))
    for k in range(8):
        coefficients = torch.zeros(1, 1, 1, 8, 8, 4)
        coefficients[..., k, 0, 0] = 1
        wave = idct(coefficients)[0, 0, 0, :, 0, 0]
        half_periods = (wave.sign().diff() != 0).sum()
        assert half_periods == round(float(frequency[k, 0, 0]) * 2 * 8)


def test_third_axis_does_not_count():
    frequency = in_plane_frequency((4, 4, 8))
    assert torch.equal(frequency, frequency[..., :1].expand(4, 4, 8))


def test_bands_of_a_block_of_8_are_the_weights_themselves():
    weights = [1.0, 0.5, 3.0, 0.0, 2.0, 7.0, 1.0, 0.25]
    assert expand_bands(weights, (8, 8, 8))[:, 0, 0].tolist() == weights


def test_other_blocks_interpolate_and_the_last_weight_goes_on():
    expanded = expand_bands([2.0, 4.0], (16, 16))
    assert expanded[0, 0] == 2
    assert expanded[1, 0] == 3
    assert (expanded[2:] == 4).all()


@pytest.mark.parametrize("weights", [[], [1.0, -1.0], [0.0, 0.0]])
def test_impossible_weights_are_named(weights):
    with pytest.raises(ValueError, match="band_weights="):
        expand_bands(weights, (8, 8, 8))
