# SPDX-License-Identifier: Apache-2.0
"""Trainers of networks with overlapping classes: the attack says that they are, handlers have nothing to add."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from monai.losses import DiceLoss

from monai_vafa.attacks import ProjectedGradientDescent, VolumetricFrequencyAttack
from monai_vafa.handlers import AttackHandler, VAFTHandler
from monai_vafa.losses import FrequencyConsistencyLoss


@pytest.fixture
def loss_function():
    return DiceLoss(sigmoid=True)


@pytest.fixture
def batches(batches):
    """The same images with three classes that overlap."""
    draw = torch.Generator().manual_seed(4)
    return [{**batch, "label": torch.randint(0, 2, (2, 3, 8, 8, 8), generator=draw).float()} for batch in batches]


def test_vaft_is_the_three_terms(network, batches, train, loss_function, same_gradients):
    twin, attack = copy.deepcopy(network), VolumetricFrequencyAttack(steps=2, block_size=8, activation="sigmoid")
    (losses, gradients), *_ = train(network, batches[:1], VAFTHandler(attack=attack))
    image, label = batches[0]["image"], batches[0]["label"]
    twin.train()
    attack.seed += 1  # as in the first iteration
    clean, attacked = twin(image), twin(attack(twin, image, label))
    terms = loss_function(clean, label), loss_function(attacked, label), FrequencyConsistencyLoss()(attacked, clean)
    sum(terms).backward()
    for name, term in zip(("clean", "adversarial", "frequency"), terms, strict=True):
        torch.testing.assert_close(losses[f"loss_{name}"], term.detach())
    assert float(losses["loss_frequency"]) > 1e-3
    same_gradients(gradients, twin)


@pytest.mark.parametrize("recipe", ["upstream", "algorithm1"])
def test_either_recipe_trains(network, batches, train, recipe):
    attack = VolumetricFrequencyAttack(recipe=recipe, steps=2, block_size=8, activation="sigmoid")
    seen = train(network, batches, VAFTHandler(attack=attack))
    assert len(seen) == 3
    assert all(torch.isfinite(losses["loss"]) for losses, _ in seen)


def test_default_attack_says_what_such_a_trainer_needs(network, batches, train):
    with pytest.raises(ValueError, match=re.escape("label has 3 channels, but with activation='softmax'")):
        train(network, _in_blocks(batches[:1]), VAFTHandler())


def _in_blocks(batches):
    """Large enough for the default block."""
    return [{key: value.repeat(1, 1, 4, 4, 4) for key, value in batch.items()} for batch in batches]


def test_attack_handler(network, batches, train, loss_function):
    twin, attack = copy.deepcopy(network), ProjectedGradientDescent(eps=16, steps=2, activation="sigmoid")
    (losses, _), *_ = train(network, batches[:1], AttackHandler(attack=attack))
    with torch.no_grad():
        clean = loss_function(twin(batches[0]["image"]), batches[0]["label"])
    assert losses["loss"] > clean
