# SPDX-License-Identifier: Apache-2.0
"""Attacks on the DCT coefficients themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from monai_vafa.attacks import CoefficientAttack, PerceptualFrequencyAttack
from monai_vafa.frequency import block_spectrum, expand_bands

BOTH = [CoefficientAttack, PerceptualFrequencyAttack]


def change(attack, network, image, label):
    """Coefficients of what an attack added, in gray values."""
    adversarial = attack(network, image, label)
    return block_spectrum(adversarial, 8) - block_spectrum(image, 8)


@settings(max_examples=15, deadline=None)
@given(eps=st.floats(0.25, 8), steps=st.integers(1, 4))
def test_no_coefficient_moves_further_than_its_bound(eps, steps):
    torch.manual_seed(0)
    network = nn.Conv3d(1, 3, 3, padding=1)
    image = 0.3 + 0.4 * torch.rand(1, 1, 8, 16, 8)  # far from 0 and 1, so that nothing is clipped
    weights = (1.0, 0.5, 0.0, 2.0)
    moved = change(CoefficientAttack(eps=eps, steps=steps, band_weights=weights), network, image, image.round())
    assert (moved.abs() <= eps * expand_bands(weights, (8, 8, 8)) + 1e-3).all()


def test_one_step_goes_along_the_sign_of_the_gradient_to_the_coefficients(network, image, label):
    loss = nn.CrossEntropyLoss()
    leaf = image.clone().requires_grad_()
    loss(network(leaf), label[:, 0]).backward()
    expected = block_spectrum(leaf.grad, 8) + 128 * (8**1.5) * (torch.arange(512) == 0).reshape(8, 8, 8)
    attack = CoefficientAttack(eps=2, step_size=0.5, steps=1, loss=lambda logits, target: loss(logits, target[:, 0]))
    moved = change(attack, network, image, label)
    certain = expected.abs() > 1e-3 * expected.abs().max()
    assert torch.allclose(moved[certain], 0.5 * expected.sign()[certain], atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(rmse=st.floats(0.25, 20), steps=st.integers(1, 4), masking=st.floats(0, 2))
def test_realised_rmse_keeps_within_the_budget(rmse, steps, masking):
    torch.manual_seed(0)
    network = nn.Conv3d(1, 3, 3, padding=1)
    image = torch.rand(2, 1, 8, 16, 12)
    attack = PerceptualFrequencyAttack(rmse=rmse, steps=steps, contrast_masking=masking)
    moved = 255 * (attack(network, image, image.round()) - image)
    assert (moved.flatten(1).square().mean(1).sqrt() <= rmse * 1.001).all()


def test_budget_is_used_up(network, image, label):
    moved = 255 * (PerceptualFrequencyAttack(rmse=1, steps=6)(network, image, label) - image)
    assert moved.square().mean().sqrt() == pytest.approx(1, abs=0.02)


def test_flat_image_parts_stay_as_they_are(network, image, label):
    image[..., :8] = 0.5
    moved = (PerceptualFrequencyAttack(rmse=4)(network, image, label) - image).abs()
    assert moved[..., :2].max() == 0  # the window of the contrast reaches 6 voxels
    assert moved[..., 8:].max() > 0
    everywhere = PerceptualFrequencyAttack(rmse=4, contrast_masking=0)(network, image, label) - image
    assert everywhere[..., :2].abs().max() > 0


def test_image_without_any_contrast_can_be_attacked(network, image, label):
    constant = torch.full_like(image, 0.5)
    assert not torch.equal(PerceptualFrequencyAttack()(network, constant, label), constant)


def test_bands_of_weight_zero_are_left_alone(network, image, label):
    image = 0.3 + 0.4 * image
    weights = (0.0, 1.0)
    for attack in (
        CoefficientAttack(band_weights=weights),
        PerceptualFrequencyAttack(band_weights=weights, contrast_masking=0),
    ):
        moved = change(attack, network, image, label)
        assert moved[..., 0, 0, :].abs().max() < 2e-3
        assert moved.abs().max() > 0.1


def test_without_mask_and_weights_it_is_steepest_ascent_on_the_voxels(network, image, label):
    loss = nn.CrossEntropyLoss()
    leaf = image.clone().requires_grad_()
    loss(network(leaf), label[:, 0]).backward()
    attack = PerceptualFrequencyAttack(
        rmse=1,
        step_size=1,
        steps=1,
        contrast_masking=0,
        band_weights=None,
        loss=lambda logits, target: loss(logits, target[:, 0]),
    )
    moved = 255 * (attack(network, image, label) - image)
    assert torch.allclose(moved, leaf.grad / leaf.grad.square().mean().sqrt(), atol=1e-2)


@pytest.mark.parametrize("attack_class", BOTH)
def test_loss_rises(attack_class, network, image, label):
    attack = attack_class(loss=lambda logits, target: nn.functional.cross_entropy(logits, target[:, 0]), steps=5)
    losses = attack.run(network, image, label).losses
    assert losses[-1] > losses[0]


@pytest.mark.parametrize("attack_class", BOTH)
def test_targeted_comes_closer_to_the_target(attack_class, network, image):
    target = torch.ones_like(image)
    with torch.no_grad():
        before = nn.functional.cross_entropy(network(image), target[:, 0].long())
        after = nn.functional.cross_entropy(
            network(attack_class(targeted=True)(network, image, target)), target[:, 0].long()
        )
    assert after < before


@pytest.mark.parametrize("attack_class", BOTH)
def test_works_on_slices(attack_class):
    image = torch.rand(1, 1, 20, 24)
    adversarial = attack_class(steps=2)(nn.Conv2d(1, 3, 3, padding=1), image, image.round())
    assert adversarial.shape == image.shape
    assert not torch.equal(adversarial, image)


@pytest.mark.parametrize(
    ("attack_class", "wrong", "message"),
    [
        (CoefficientAttack, {"eps": 0}, "eps=0"),
        (CoefficientAttack, {"step_size": -1}, "step_size=-1"),
        (CoefficientAttack, {"band_weights": []}, "band_weights="),
        (PerceptualFrequencyAttack, {"rmse": 0}, "rmse=0"),
        (PerceptualFrequencyAttack, {"contrast_masking": -1}, "contrast_masking=-1"),
    ],
)
def test_bad_parameters_are_named(attack_class, wrong, message):
    with pytest.raises(ValueError, match=message):
        attack_class(**wrong)
