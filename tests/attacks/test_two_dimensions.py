# SPDX-License-Identifier: Apache-2.0
"""Images of 2-D networks."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_vafa.attacks import (
    BandDrop,
    GaussianNoise,
    QuantizeOnly,
    RescaleOnly,
    SliceFrequencyAttack,
    SlidingWindowAttack,
    SquareAttack,
    VolumetricFrequencyAttack,
)
from monai_vafa.attacks.draws import volume_keys

from .probes import BY_GRADIENT

VAFA_2D = partial(SliceFrequencyAttack, steps=3, block_size=8)
ATTACKS = {**BY_GRADIENT, "vafa": VAFA_2D, "square": partial(SquareAttack, steps=20, eps=16.0)}
CONTROLS = {
    "quantize_only": partial(QuantizeOnly, block_size=8),
    "rescale_only": RescaleOnly,
    "band_drop": partial(BandDrop, block_size=8),
    "gn": GaussianNoise,
}


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1, bias=False))
        network[0].bias.data = -0.5 * network[0].weight.data.sum((1, 2, 3))  # so that gray says nothing
        return network


@pytest.fixture
def image():
    return torch.rand(2, 2, 24, 20, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1


@pytest.fixture
def label(network, image):
    with torch.no_grad():
        label = network(image).argmax(1, keepdim=True)
    assert (label.flatten().bincount() > 100).all()
    return label


def right(network, image, label):
    with torch.no_grad():
        return float((network(image).argmax(1, keepdim=True) == label).float().mean())


class Flat(nn.Module):
    """A 2-D network as one of volumes with a single slice."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x[..., 0])[..., None]


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_breaks_something(name, network, image, label):
    adversarial = ATTACKS[name]()(network, image, label)
    assert adversarial.shape == image.shape
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert right(network, adversarial, label) < right(network, image, label)


@pytest.mark.parametrize("options", [{}, {"similarity": "ssim"}, {"rescale_slices": False}, {"block_size": (4, 8)}])
def test_image_is_attacked_like_a_volume_of_one_slice(network, image, label, options):
    attack = VAFA_2D(**options)
    flat, volume = attack.run(network, image, label), attack.run(Flat(network), image[..., None], label[..., None])
    assert flat.tables.shape[3:] == options.get("block_size", (8, 8))
    # Sums over voxels may round differently, which a sign can magnify where a gradient is next to 0.
    assert (flat.tables == volume.tables[..., 0]).float().mean() > 0.99
    assert ((flat.adversarial - volume.adversarial[..., 0]).abs() < 1e-3).float().mean() > 0.9
    torch.testing.assert_close(flat.losses[0], volume.losses[0])


@pytest.mark.parametrize("name", ["quantize_only", "band_drop", "gn"])
def test_controls_change_the_image(name, network, image):
    adversarial = CONTROLS[name]()(network, image)
    assert adversarial.shape == image.shape
    assert not torch.equal(adversarial, image)


def test_re_scaling_takes_the_image_as_one_slice(network, image):
    adversarial = RescaleOnly()(network, image)
    assert torch.allclose(adversarial.amin((2, 3)), torch.tensor(0.0))
    assert torch.allclose(adversarial.amax((2, 3)), torch.tensor(1.0))


@pytest.mark.parametrize("name", [*ATTACKS, *CONTROLS])
def test_windows_cover_an_image(name, network, image, label):
    attack = {**ATTACKS, **CONTROLS}[name](intensity_range=(0, 1))
    scene, labels = MetaTensor(image[:1, :, :16]), label[:1, :, :16]
    adversarial = SlidingWindowAttack((16, 12), sw_batch_size=1)(attack, network, scene, labels)
    assert isinstance(adversarial, MetaTensor)
    key = (*volume_keys(image[:1, :, :16])[0], 0, 8)
    last = attack.run(network, image[:1, :, :16, 8:], label[:1, :, :16, 8:], keys=[key]).adversarial
    assert torch.equal(adversarial[..., 8:].as_tensor(), last)


def test_image_smaller_than_the_window_is_padded_and_cropped(network, image):
    adversarial = SlidingWindowAttack(32)(VAFA_2D(), network, image)
    assert adversarial.shape == image.shape


def test_sigmoid_outputs(network, image):
    with torch.no_grad():
        label = (network(image) > 0).long()
    adversarial = VAFA_2D(activation="sigmoid")(network, image, label)
    with torch.no_grad():
        assert ((network(adversarial) > 0) != label).any()


def test_volumetric_attack_names_the_one_for_images(network, image):
    with pytest.raises(ValueError, match=r"takes volumes .*SliceFrequencyAttack also takes images \(B, C, H, W\)"):
        VolumetricFrequencyAttack(block_size=8)(network, image)


@pytest.mark.parametrize(("shape", "message"), [((1, 2, 4, 20), "block_size=.8, 8. is larger"), ((2, 24, 20), "B, C")])
def test_images_that_do_not_fit_are_named(network, shape, message):
    with pytest.raises(ValueError, match=message):
        VAFA_2D()(network, torch.rand(shape))
