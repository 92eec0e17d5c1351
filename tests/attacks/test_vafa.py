# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from monai_vafa.attacks import EraseClass, SliceFrequencyAttack, VolumetricFrequencyAttack
from monai_vafa.frequency import quantize_image


@settings(deadline=None, max_examples=15)
@given(
    q_min=st.floats(1, 10),
    width=st.floats(0, 20),
    step_size=st.floats(0.5, 8),
    start=st.floats(0, 1),
    rescale=st.booleans(),
)
def test_tables_and_voxels_stay_within_their_bounds(q_min, width, step_size, start, rescale):
    network, image, label = nn.Conv3d(1, 2, 3, padding=1), torch.rand(1, 1, 8, 8, 8), torch.ones(1, 1, 8, 8, 8)
    q_max = q_min + width
    attack = VolumetricFrequencyAttack(
        q_min=q_min,
        q_max=q_max,
        q_init=min(q_min + start * width, q_max),
        step_size=step_size,
        steps=3,
        block_size=4,
        rescale_slices=rescale,
    )
    result = attack.run(network, image, label)
    assert result.tables.min() >= torch.tensor(q_min)
    assert result.tables.max() <= torch.tensor(q_max)
    assert result.adversarial.min() >= 0
    assert result.adversarial.max() <= 1


def test_algorithm1_with_q_max_1_changes_nothing_beyond_rounding(network, image, label):
    attack = VolumetricFrequencyAttack(recipe="algorithm1", q_max=1, steps=4, block_size=8)
    change = (attack(network, image, label) - image) * 255
    assert change.square().mean().sqrt() <= 0.5


def test_one_step_is_quantisation_with_the_first_tables(network, image, label):
    """What is returned was made before the last update."""
    attack = VolumetricFrequencyAttack(q_max=20, steps=1, block_size=8, rescale_slices=False)
    result = attack.run(network, image, label)
    assert torch.allclose(result.adversarial, quantize_image(image, 20.0, 8), atol=0.15)
    assert (result.tables < 20).any()


def test_sign_steps_have_the_size_asked_for(network, image, label):
    tables = VolumetricFrequencyAttack(steps=1, step_size=2.5, block_size=8).run(network, image, label).tables
    assert set(tables.unique().tolist()) <= {17.5, 20.0}


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_each_channel_has_tables_of_its_own(channels, label):
    network = nn.Conv3d(channels, 3, 3, padding=1)
    result = VolumetricFrequencyAttack(steps=2, block_size=8).run(network, torch.rand(1, channels, 16, 16, 16), label)
    assert result.tables.shape == (1, channels, 8, 8, 8, 8)
    assert result.adversarial.shape == (1, channels, 16, 16, 16)


@pytest.mark.parametrize("attack_class", [VolumetricFrequencyAttack, SliceFrequencyAttack])
def test_sides_that_are_no_multiple_of_the_block(network, attack_class):
    image, label = torch.rand(1, 1, 10, 13, 9), torch.zeros(1, 1, 10, 13, 9)
    assert attack_class(steps=2, block_size=8)(network, image, label).shape == image.shape


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_volumes_give_no_nan(network, label, value, rescale):
    image = torch.full((1, 1, 16, 16, 16), value)
    result = VolumetricFrequencyAttack(steps=3, block_size=8, rescale_slices=rescale).run(network, image, label)
    assert torch.isfinite(result.adversarial).all()
    assert torch.isfinite(result.tables).all()
    assert torch.isfinite(result.losses).all()


def test_constant_slices_give_no_nan(network, image, label):
    image[..., 5] = 0
    result = VolumetricFrequencyAttack(steps=3, block_size=(8, 8, 1)).run(network, image, label)
    assert torch.isfinite(result.adversarial).all()
    # no more than the quantisation of its mean, not stretched
    assert torch.allclose(result.adversarial[..., 5], image[..., 5], atol=0.01)


def test_slices_know_nothing_of_each_other(label):
    network = nn.Conv3d(1, 3, (3, 3, 1), padding=(1, 1, 0))
    image = torch.rand(1, 1, 16, 16, 16)
    attack = SliceFrequencyAttack(steps=2, block_size=8, loss=lambda y, _: y[:, 0].square().sum())
    alone = attack(network, image[..., 3:4], label[..., 3:4])
    assert torch.allclose(attack(network, image, label)[..., 3:4], alone, atol=1e-5)


def test_targeted_attack_brings_the_target_closer(image):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Softplus(), nn.Conv3d(4, 3, 3, padding=1))
    prediction = network(image).argmax(1, keepdim=True)
    target = EraseClass(1)(prediction)
    assert not torch.equal(target, prediction)

    def loss(logits, label):
        return nn.functional.cross_entropy(logits, label[:, 0].long())

    attack = VolumetricFrequencyAttack(
        targeted=True, steps=8, q_max=40, block_size=8, rescale_slices=False, similarity=None, loss=loss
    )
    result = attack.run(network, image, target)
    quantized = network(quantize_image(image, 40.0, 8))
    assert loss(network(result.adversarial), target) < loss(quantized, target)
    assert result.losses[-1] > result.losses[0]


def test_targeted_attack_without_target_is_refused(network, image):
    with pytest.raises(ValueError, match="needs label"):
        VolumetricFrequencyAttack(targeted=True, block_size=8)(network, image)


def test_similarity_is_part_of_the_objective(network, image, label):
    with_ssim = VolumetricFrequencyAttack(steps=1, block_size=8).run(network, image, label)
    without = VolumetricFrequencyAttack(steps=1, block_size=8, similarity=None).run(network, image, label)
    assert with_ssim.losses[0] < without.losses[0]


def test_recipes_set_what_is_not_given():
    upstream, algorithm1 = (
        VolumetricFrequencyAttack(),
        VolumetricFrequencyAttack(recipe="algorithm1", q_min=2, q_init=2),
    )
    assert (upstream.q_init, upstream.q_min, upstream.rescale_slices) == (20, 5, True)
    assert (algorithm1.q_init, algorithm1.q_min, algorithm1.rescale_slices) == (2, 2, False)
    assert SliceFrequencyAttack().similarity is None
    assert upstream.similarity == "ssim"


def test_threat_model_names_its_bounds():
    text = VolumetricFrequencyAttack(q_max=30).threat_model
    assert "white box" in text
    assert "30" in text
    assert "stretched" in text
