# SPDX-License-Identifier: Apache-2.0
"""What is random belongs to the volume and the window, not to the call."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from monai_vafa.attacks import (
    AutoPGD,
    CosPGD,
    GaussianNoise,
    ProjectedAdam,
    ProjectedGradientDescent,
    SegPGD,
    SlidingWindowAttack,
    SquareAttack,
    TsallisPGD,
)

from .probes import Spy

# What is random in each attack is seen in the first image shown to the network, or in the noise itself.
ATTACKS = {
    "pgd": partial(ProjectedGradientDescent, steps=1, restarts=1),
    "seg_pgd": partial(SegPGD, steps=1, restarts=1),
    "cos_pgd": partial(CosPGD, steps=1, restarts=1),
    "tsallis_pgd": partial(TsallisPGD, steps=1, restarts=1),
    "padam": partial(ProjectedAdam, steps=1),
    "auto_pgd": partial(AutoPGD, steps=1),
    "square": partial(SquareAttack, steps=20),
    "gn": GaussianNoise,
}


@pytest.fixture(params=ATTACKS)
def make(request):
    return ATTACKS[request.param]


def first_change(attack, network, image, **kwargs):
    """What the attack does to an image before it has learnt anything from the network."""
    spy = Spy(network)
    result = attack.run(spy, image, torch.zeros_like(image[:, :1]), **kwargs)
    return (spy.seen[0] if spy.seen else result.adversarial) - image


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def in_windows(attack, network, volume, sw_batch_size=1, **kwargs):
    return SlidingWindowAttack(8, sw_batch_size).run(attack, network, volume, torch.zeros_like(volume), **kwargs)


def test_volumes_of_a_batch_differ_and_each_is_as_if_alone(make, network, image):
    images = torch.cat([image, image.flip(2), image.flip(3)])
    together = first_change(make(), network, images)
    for i in range(3):
        torch.testing.assert_close(together[i], first_change(make(), network, images[i : i + 1])[0])
    assert abs(correlation(together[0], together[1])) < 0.5
    assert abs(correlation(together[1], together[2])) < 0.5


def test_order_of_the_batch_does_not_count(make, network, image):
    images = torch.cat([image, image.flip(2)])
    torch.testing.assert_close(
        first_change(make(), network, images.flip(0)).flip(0), first_change(make(), network, images)
    )


def test_memory_layout_does_not_count(make, network, image):
    expected = make()(network, image)
    for copy in (
        image.transpose(2, 4).contiguous().transpose(2, 4),
        image.contiguous(memory_format=torch.channels_last_3d),
        torch.stack([image, image], -1)[..., 0],
    ):
        assert torch.equal(copy, image)
        torch.testing.assert_close(make()(network, copy), expected, atol=1e-5, rtol=0)


def test_unit_and_rounding_do_not_count(make, network, image):
    in_hu = make(intensity_range=(-175, 250))
    change = first_change(in_hu, torch.nn.Sequential(_FromHu(), network), image * 425 - 175)
    torch.testing.assert_close(change / 425, first_change(make(), network, image), atol=1e-5, rtol=0)


class _FromHu(torch.nn.Module):
    def forward(self, x):
        return (x + 175) / 425


@pytest.mark.parametrize("sw_batch_size", [1, 3])
def test_windows_differ_whatever_their_batch(make, network, sw_batch_size):
    volume = torch.full((1, 1, 8, 8, 24), 0.5)  # windows that only their position tells apart
    whole = in_windows(make(), network, volume).adversarial
    torch.testing.assert_close(in_windows(make(), network, volume, sw_batch_size).adversarial, whole)
    first, second, third = (whole - volume).split(8, -1)
    for pair in ((first, second), (second, third)):
        assert abs(correlation(*pair)) < 0.9


def test_cases_differ_by_their_name(make, network):
    volume = torch.full((1, 1, 8, 8, 16), 0.5)
    a, b = (in_windows(make(), network, volume, keys=[(name,)]).adversarial - volume for name in "ab")
    assert abs(correlation(a, b)) < 0.9
    again = in_windows(make(), network, volume, keys=[("a",)]).adversarial - volume
    assert torch.equal(a, again)


def test_a_volume_of_one_window_is_attacked_as_without_windows(make, network, image):
    image = image[..., :8, :8, :8]
    assert torch.equal(in_windows(make(), network, image).adversarial, make()(network, image, torch.zeros_like(image)))


def test_seed_counts_and_global_state_does_not(make, network, image):
    torch.manual_seed(1)
    first = first_change(make(seed=1), network, image)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, first_change(make(seed=1), network, image))
    assert not torch.equal(first, first_change(make(seed=2), network, image))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_has_its_distribution(network):
    image = torch.full((1, 1, 32, 32, 32), 0.5)
    noise = (GaussianNoise(sigma=4)(network, image) - image) * 255
    assert float(noise.std()) == pytest.approx(4, rel=0.02)
    assert abs(float(noise.mean())) < 0.1


def test_one_key_per_volume(network, image):
    with pytest.raises(ValueError, match="keys has 2 entries for 1 volumes"):
        GaussianNoise().run(network, image, keys=[("a",), ("b",)])
