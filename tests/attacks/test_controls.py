# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_vafa.attacks import BandDrop, GaussianNoise, QuantizeOnly, RescaleOnly
from monai_vafa.attacks.sa2 import in_band
from monai_vafa.frequency import block_spectrum, quantize_image


def test_quantize_only_quantises(network, image):
    assert torch.allclose(QuantizeOnly(q=10, block_size=8)(network, image), quantize_image(image, 10, 8))


def test_rescale_only_stretches_each_axial_slice(network, image):
    adversarial = RescaleOnly()(network, image)
    assert torch.allclose(adversarial.amin((2, 3)), torch.tensor(0.0))
    assert torch.allclose(adversarial.amax((2, 3)), torch.tensor(1.0))


def test_rescale_only_leaves_constant_slices(network, image):
    image[..., 4] = 0.25
    assert torch.equal(RescaleOnly()(network, image)[..., 4], image[..., 4])


BANDS = ("low", "middle", "high")


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("block", [8, (8, 4, 1)])
def test_band_is_gone_and_nothing_else_has_changed(network, image, band, block):
    image = 0.5 + 0.2 * (image - 0.5)  # nothing is clipped
    dropped = BandDrop(band=band, block_size=block)(network, image)
    before, after = (block_spectrum(x, block) for x in (image, dropped))
    gone = in_band((8, 8, 8) if block == 8 else block, band)
    assert 0 < gone.sum() < gone.numel() - 1
    assert before[..., gone].abs().mean() > 0.1 and after[..., gone].abs().max() < 1e-3
    assert torch.allclose(before[..., ~gone], after[..., ~gone], atol=1e-3)


def test_without_low_frequencies_the_mean_of_a_block_stays(network, image):
    image = 0.5 + 0.2 * (image - 0.5)
    dropped = BandDrop(band="low", block_size=8)(network, image)
    means = [x.unfold(2, 8, 8).unfold(3, 8, 8).unfold(4, 8, 8).mean((5, 6, 7)) for x in (image, dropped)]
    assert torch.allclose(*means, atol=1e-5)


@pytest.mark.parametrize("block", [(16, 16, 16), (7, 7), (8, 8, 1), (16, 16, 5), (2, 2, 2), (1, 1, 1)])
def test_bands_share_all_coefficients_but_the_mean(block):
    shared = torch.stack([in_band(block, band) for band in BANDS]).sum(0)
    assert shared.flatten()[0] == 0 and (shared.flatten()[1:] == 1).all()
    assert torch.equal(in_band(block, "all"), shared == 1)


def test_low_band_of_unequal_sides_holds_the_same_frequencies():
    assert torch.equal(in_band((16, 16, 4), "low"), in_band((16, 16, 16), "low")[..., ::4])


@pytest.mark.parametrize("band", ["all", "mid"])
def test_impossible_band_is_refused(band):
    with pytest.raises(ValueError, match=f"band='{band}'"):
        BandDrop(band=band)


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
