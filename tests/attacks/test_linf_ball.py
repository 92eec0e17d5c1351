# SPDX-License-Identifier: Apache-2.0
"""What all attacks within an L-inf ball promise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_vafa.attacks import (
    AutoPGD,
    BasicIterative,
    CosPGD,
    DiverseInputsIterative,
    FastGradientSign,
    MomentumIterative,
    ProjectedAdam,
    ProjectedGradientDescent,
    SegPGD,
    SpectrumSimulationAttack,
    SquareAttack,
    TsallisPGD,
)

ATTACKS = [
    AutoPGD,
    BasicIterative,
    CosPGD,
    DiverseInputsIterative,
    FastGradientSign,
    MomentumIterative,
    ProjectedAdam,
    ProjectedGradientDescent,
    SegPGD,
    SpectrumSimulationAttack,
    SquareAttack,
    TsallisPGD,
]
# Adding and taking off the clean image rounds.
ROUNDING = 1e-4


def small_network(seed, channels=1, convolution=torch.nn.Conv3d):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(convolution(channels, 3, 3, padding=1), torch.nn.Tanh(), convolution(3, 2, 1))


def gray_values(change):
    return float(change.abs().max()) * 255


@pytest.mark.parametrize("attack_class", ATTACKS)
@settings(deadline=None, max_examples=12)
@given(eps=st.floats(0.25, 255), steps=st.integers(1, 12), seed=st.integers(0, 1000), targeted=st.booleans())
def test_no_voxel_leaves_the_ball_or_the_range(attack_class, eps, steps, seed, targeted):
    kwargs = {} if attack_class is FastGradientSign else {"steps": steps}
    if attack_class not in (SegPGD, TsallisPGD, AutoPGD):
        kwargs["targeted"] = targeted
    draw = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 1, 4, 4, 5, generator=draw).mul(1.2).sub(0.1).clamp(0, 1)  # with voxels at both ends
    label = torch.randint(2, (2, 1, 4, 4, 5), generator=draw)
    network, seen = small_network(seed), []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().aminmax()))
    adversarial = attack_class(eps=eps, seed=seed, **kwargs)(network, image, label)
    assert gray_values(adversarial - image) <= eps + ROUNDING
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    if attack_class is not SpectrumSimulationAttack:  # whose copies are altered beyond the range
        assert all(low >= 0 and high <= 1 for low, high in seen)


@pytest.mark.parametrize("attack_class", ATTACKS)
def test_eps_counts_gray_values_of_the_intensity_range(attack_class, network, image, label):
    image, label = image[..., :8, :8, :8], label[..., :8, :8, :8]
    hu = image * 500 - 100
    adversarial = attack_class(eps=51, intensity_range=(-100, 400))(network, hu, label)
    assert float((adversarial - hu).abs().max()) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("attack_class", ATTACKS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_slices_and_volumes(attack_class, dimensions):
    network = small_network(0, 2, (torch.nn.Conv2d, torch.nn.Conv3d)[dimensions - 2])
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(1, 2, *[6] * dimensions, generator=draw)
    label = torch.randint(2, (1, 1, *[6] * dimensions), generator=draw)
    adversarial = attack_class()(network, image, label)
    assert adversarial.shape == image.shape
    assert 3.5 < gray_values(adversarial - image) <= 4 + ROUNDING


@pytest.mark.parametrize("attack_class", ATTACKS)
def test_the_loss_rises(attack_class, network, image, label):
    def loss(logits, target):
        return torch.nn.functional.cross_entropy(logits, target[:, 0])

    image, label = image[..., :8, :8, :8], label[..., :8, :8, :8]
    kwargs = {} if attack_class in (CosPGD, SegPGD, TsallisPGD) else {"loss": loss}
    adversarial = attack_class(**kwargs)(network, image, label)
    assert loss(network(adversarial), label) > loss(network(image), label)


@pytest.mark.parametrize("attack_class", ATTACKS)
def test_threat_model_names_knowledge_aim_and_bound(attack_class):
    text = attack_class(eps=3).threat_model
    box = "black box (only the network's answers" if attack_class is SquareAttack else "white box (weights, gradients"
    assert text.startswith(box)
    assert "aims at any wrong answer" in text
    assert text.endswith("may change: each voxel by at most 3 of 255")


@pytest.mark.parametrize("attack_class", ATTACKS)
@pytest.mark.parametrize("eps", [0, -1, 256])
def test_impossible_radius_is_named(attack_class, eps):
    with pytest.raises(ValueError, match=f"eps={eps}"):
        attack_class(eps=eps)
