# SPDX-License-Identifier: Apache-2.0
"""Projected Adam against torch.optim.Adam."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monai_vafa.attacks import ROSTER, ProjectedAdam
from monai_vafa.attacks.draws import Draws
from monai_vafa.losses import CosineLoss, TsallisLoss

from .probes import cross_entropy


def cosine(logits, label):
    """As the package rse has it."""
    return (1 - F.cosine_similarity(logits, F.one_hot(label[:, 0], logits.shape[1]).movedim(-1, 1))).mean()


def by_hand(network, image, label, loss, *, eps, steps, step_size, targeted=False, seed=0, random_start=True):
    """Adam on the change of the voxels, clipped to the ball and to the range after each step."""
    eps, delta = eps / 255, torch.zeros_like(image)
    if random_start:
        delta = (image + eps * (2 * Draws(seed, image).of(torch.rand) - 1)).clamp(0, 1) - image
    delta.requires_grad_()
    adam = torch.optim.Adam([delta], lr=step_size / 255, amsgrad=True, maximize=not targeted)
    for _ in range(steps):
        adam.zero_grad()
        (loss(network(image + delta), label) * image[0, 0].numel()).backward()
        adam.step()
        with torch.no_grad():
            delta.copy_((image + delta.clamp(-eps, eps)).clamp(0, 1) - image)
    return (image + delta).detach()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), [(None, cross_entropy), (CosineLoss(), cosine)])
def test_formula(network, image, label, ours, theirs, targeted):
    image = image.mul(1.4).sub(0.2).clamp(0, 1)  # with voxels at both ends
    given = {"eps": 6, "steps": 12, "step_size": 1.5, "targeted": targeted, "seed": 3}
    adversarial = ProjectedAdam(**given, loss=ours)(network, image, label)
    expected = by_hand(network, image, label, theirs, **given)
    assert ((adversarial - expected).abs() < 1e-4).float().mean() > 0.99
    assert ((adversarial - image).abs() < 5.9 / 255).float().mean() > 0.02  # not all are at the bound
    with torch.no_grad():
        before, after = (float(theirs(network(x), label)) for x in (image, adversarial))
    assert (after < before) == targeted


def test_settings_are_those_of_the_authors():
    attack = ProjectedAdam()
    assert (attack.steps, attack.step_size, attack.random_start, attack.restarts) == (200, 2, True, 1)
    assert isinstance(attack.loss, TsallisLoss) and attack.loss.q == 1
    assert ROSTER["padam_cos"].build().parameters["loss"]["class"] == "CosineLoss"


def test_size_of_the_gradient_does_not_count(network, image, label):
    def faint(logits, target):
        """Its gradient, that of a mean over voxels, is smaller than Adam's epsilon."""
        return 1e-3 * cross_entropy(logits, target)

    once, again = (ProjectedAdam(steps=5, loss=loss)(network, image, label) for loss in (faint, cross_entropy))
    assert ((once - again).abs() < 1e-4).float().mean() > 0.99


def test_recipe_is_part_of_the_attack():
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        ProjectedAdam(recipe="upstream")
