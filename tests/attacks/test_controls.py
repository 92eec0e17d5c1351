# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_vafa.attacks import GaussianNoise, QuantizeOnly, RescaleOnly
from monai_vafa.frequency import quantize_image


def test_quantize_only_quantises(network, image):
    assert torch.allclose(QuantizeOnly(q=10, block_size=8)(network, image), quantize_image(image, 10, 8))


def test_rescale_only_stretches_each_axial_slice(network, image):
    adversarial = RescaleOnly()(network, image)
    assert torch.allclose(adversarial.amin((2, 3)), torch.tensor(0.0))
    assert torch.allclose(adversarial.amax((2, 3)), torch.tensor(1.0))


def test_rescale_only_leaves_constant_slices(network, image):
    image[..., 4] = 0.25
    assert torch.equal(RescaleOnly()(network, image)[..., 4], image[..., 4])


def test_impossible_step_is_refused():
    with pytest.raises(ValueError, match="q=0"):
        QuantizeOnly(q=0)


def test_noise_has_the_standard_deviation_asked_for(network, image):
    noise = GaussianNoise(sigma=6)(network, image) - image  # no voxel is near enough to an end to be clipped
    assert float(noise.std()) * 255 == pytest.approx(6, rel=0.05)
    assert float(noise.mean()) * 255 == pytest.approx(0, abs=0.5)


def test_noise_counts_gray_values_of_the_intensity_range(network, image):
    hu = image * 425 - 175
    noise = GaussianNoise(sigma=6, intensity_range=(-175, 250))(network, hu) - hu
    assert float(noise.std()) == pytest.approx(10, rel=0.05)


def test_noise_follows_its_seed_and_is_the_same_in_both_recipes(network, image):
    noisy = GaussianNoise(seed=1)(network, image)
    assert torch.equal(GaussianNoise(seed=1, recipe="upstream")(network, image), noisy)
    assert not torch.equal(GaussianNoise(seed=2)(network, image), noisy)


def test_noise_is_clipped_to_the_range(network, image):
    noisy = GaussianNoise(sigma=100)(network, image)
    assert noisy.min() == 0
    assert noisy.max() == 1


@pytest.mark.parametrize(("wrong", "message"), [({"sigma": 0}, "sigma=0"), ({"recipe": "mine"}, "recipe='mine'")])
def test_impossible_noise_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GaussianNoise(**wrong)
