# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_vafa.attacks import GaussianNoise, QuantizeOnly, SlidingWindowAttack, VolumetricFrequencyAttack


@pytest.fixture
def attack():
    return VolumetricFrequencyAttack(steps=2, block_size=4)


def test_windows_stand_side_by_side_with_the_last_one_flush(network, attack):
    volume, label = torch.rand(1, 1, 8, 8, 12), torch.zeros(1, 1, 8, 8, 12)
    adversarial = SlidingWindowAttack(8)(attack, network, volume, label)
    first, last = (attack(network, volume[..., w], label[..., w]) for w in (slice(0, 8), slice(4, 12)))
    assert torch.equal(adversarial[..., :4], first[..., :4])
    assert torch.equal(adversarial[..., 4:], last)


@pytest.mark.parametrize("sw_batch_size", [1, 3, 8])
def test_any_batch_of_windows_gives_the_same(network, sw_batch_size):
    volume = torch.rand(1, 1, 16, 12, 20)
    whole = SlidingWindowAttack(8, sw_batch_size=1)(QuantizeOnly(block_size=4), network, volume)
    assert torch.equal(SlidingWindowAttack(8, sw_batch_size)(QuantizeOnly(block_size=4), network, volume), whole)


def test_volume_smaller_than_the_window_is_padded_and_cropped(network, attack):
    volume, label = torch.rand(1, 1, 6, 8, 5), torch.zeros(1, 1, 6, 8, 5)
    adversarial = SlidingWindowAttack(8)(attack, network, volume, label)
    padded = torch.nn.functional.pad(volume, (1, 2, 0, 0, 1, 1)), torch.nn.functional.pad(label, (1, 2, 0, 0, 1, 1))
    assert torch.equal(adversarial, attack(network, *padded)[:, :, 1:7, :, 1:6])


def test_volumes_of_a_batch_are_attacked_as_if_alone(network, attack):
    volumes, labels = torch.rand(2, 1, 8, 8, 12), torch.zeros(2, 1, 8, 8, 12)
    together = SlidingWindowAttack(8)(attack, network, volumes, labels)
    assert torch.equal(together[1:], SlidingWindowAttack(8)(attack, network, volumes[1:], labels[1:]))


def test_windows_share_the_range_of_their_volume(network):
    volume = torch.cat([torch.rand(1, 1, 8, 8, 8), torch.rand(1, 1, 8, 8, 8) * 100], -1)
    adversarial = SlidingWindowAttack(8)(QuantizeOnly(q=50, block_size=8, intensity_range=None), network, volume)
    # a coarse step on the range [0, 100] leaves next to nothing of a window within [0, 1]
    assert adversarial[..., :8].std() < 0.2 * volume[..., :8].std()


def test_constant_volume_has_a_range_of_one_above_its_value(network):
    volume = torch.full((1, 1, 8, 8, 12), 5.0)
    adversarial = SlidingWindowAttack(8)(GaussianNoise(sigma=20, intensity_range=None), network, volume)
    assert adversarial.min() == 5
    assert 5 < adversarial.max() <= 6


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.uint8])
def test_result_is_float32_whatever_the_volume_is(network, dtype):
    volume = torch.randint(0, 2, (1, 1, 8, 8, 12)).to(dtype)
    noise = GaussianNoise(sigma=20)
    adversarial = SlidingWindowAttack(8)(noise, network, volume)
    assert adversarial.dtype == noise(network, volume).dtype == torch.float32
    assert torch.equal(adversarial, SlidingWindowAttack(8)(noise, network, volume.float()))


def test_non_positive_roi_size_takes_the_whole_side(network, attack):
    volume, label = torch.rand(1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8)
    assert torch.equal(SlidingWindowAttack(-1)(attack, network, volume, label), attack(network, volume, label))


def test_overlapping_windows_cover_everything(network):
    volume = torch.rand(1, 1, 8, 8, 20)
    assert SlidingWindowAttack(8, overlap=0.5)(QuantizeOnly(block_size=4), network, volume).shape == volume.shape


def test_meta_data_are_kept(network, attack):
    affine = torch.diag(torch.tensor([1.5, 1.5, 2.0, 1.0]))
    volume = MetaTensor(torch.rand(1, 1, 8, 8, 12), affine=affine)
    adversarial = SlidingWindowAttack(8)(attack, network, volume)
    assert torch.equal(adversarial.affine, affine.double())


def test_bad_input_is_named_before_any_window_is_attacked(attack, image):
    class Never(torch.nn.Module):
        def forward(self, x):
            raise AssertionError("work began")

    with pytest.raises(ValueError, match="block_size"):
        SlidingWindowAttack((8, 8, 2))(attack, Never(), image)
    image[..., -1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        SlidingWindowAttack(8)(attack, Never(), image)
    with pytest.raises(ValueError, match="label of"):
        SlidingWindowAttack(8)(attack, Never(), torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 4))


@pytest.mark.parametrize(("wrong", "message"), [({"sw_batch_size": 0}, "sw_batch_size"), ({"overlap": 1}, "overlap")])
def test_bad_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        SlidingWindowAttack(8, **wrong)
