# SPDX-License-Identifier: Apache-2.0
"""The voxel-wise losses of classes that may overlap, against their formulas for Bernoulli variables."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_vafa.losses import CosineLoss, CosPGDLoss, JensenShannonLoss, MaskedCrossEntropyLoss, SegPGDLoss, TsallisLoss

BALANCED = partial(MaskedCrossEntropyLoss, balanced=True)
LOSSES = [CosineLoss, CosPGDLoss, JensenShannonLoss, MaskedCrossEntropyLoss, BALANCED, SegPGDLoss, TsallisLoss]


def batch(classes=3, seed=0, scale=2.0):
    """Logits and a label in which any number of classes meet."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 3, 4, 5, generator=draw, dtype=torch.float64) * scale
    return logits, torch.randint(2, logits.shape, generator=draw)


def binary(logits, label):
    return F.binary_cross_entropy_with_logits(logits, label.double(), reduction="none")


def pair(p):
    """Probabilities of a Bernoulli variable: absent, present."""
    return torch.stack([1 - p, p])


def kullback_leibler(p, q):
    return torch.where(p > 0, p * (p / q).log(), 0.0).sum(0)


@settings(deadline=None, max_examples=25)
@given(classes=st.integers(1, 4), seed=st.integers(0, 1000), scale=st.floats(0.1, 15))
def test_jensen_shannon_of_bernoulli_variables(classes, seed, scale):
    logits, label = batch(classes, seed, scale)
    p, q = pair(logits.sigmoid()), pair(label.double())
    m = (p + q) / 2
    expected = (kullback_leibler(p, m) + kullback_leibler(q, m)).mean() / 2
    assert torch.allclose(JensenShannonLoss(activation="sigmoid")(logits, label), expected, atol=1e-9)


@pytest.mark.parametrize(("right", "expected"), [(True, 0.0), (False, math.log(2))])
def test_jensen_shannon_reaches_its_bounds_without_nan(right, expected):
    logits = torch.tensor([200.0, -200.0]).reshape(1, 2, 1, 1, 1).requires_grad_()
    label = torch.tensor([1, 0] if right else [0, 1]).reshape(logits.shape)
    loss = JensenShannonLoss(activation="sigmoid")(logits, label)
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(logits.grad).all()


def test_masked_cross_entropy_pulls_at_correct_classes_of_a_voxel_only():
    logits, label = batch()
    logits.requires_grad_()
    correct = (logits > 0) == label
    loss = MaskedCrossEntropyLoss(activation="sigmoid")(logits, label)
    assert torch.allclose(loss, binary(logits, label)[correct].sum() / correct.numel())
    loss.backward()
    assert torch.equal(logits.grad != 0, correct)


def test_balanced_masked_cross_entropy_balances_present_and_absent_class_by_class():
    logits, label = batch()
    label[:, 0], label[:, 1] = 0, label[:, 1] * label[:, 2]
    share = torch.stack([label[:, c].double().mean() for c in range(3)]).reshape(1, 3, 1, 1, 1)
    weight = torch.where(label == 1, 1 / (2 * share), 1 / (2 - 2 * share))
    weight[:, 0] = 1  # absent everywhere
    correct = (logits > 0) == label
    expected = (weight * correct * binary(logits, label)).mean()
    assert torch.allclose(MaskedCrossEntropyLoss(balanced=True, activation="sigmoid")(logits, label), expected)
    assert weight.mean() == pytest.approx(1)


@pytest.mark.parametrize("wrong_weight", [0.0, 0.2, 1.0])
def test_seg_pgd_weighs_right_and_wrong_classes_of_a_voxel_apart(wrong_weight):
    logits, label = batch()
    correct = (logits > 0) == label
    expected = (torch.where(correct, 1 - wrong_weight, wrong_weight) * binary(logits, label)).mean()
    assert torch.allclose(SegPGDLoss(wrong_weight, activation="sigmoid")(logits, label), expected)


def test_cosine_is_that_of_the_probabilities():
    logits, label = batch()
    expected = 1 - F.cosine_similarity(pair(logits.sigmoid()), pair(label.double()), dim=0).mean()
    assert torch.allclose(CosineLoss(activation="sigmoid")(logits, label), expected)


@pytest.mark.parametrize("q", [-2.0, 0.5, 1.0])
def test_tsallis_of_bernoulli_variables(q):
    logits, label = batch()
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(TsallisLoss(q, activation="sigmoid")(logits, label), logits)
    right = (-binary(logits, label)).exp()
    assert torch.allclose(gradient, right ** (1 - q) * (logits.sigmoid() - label) / label.numel())


@settings(deadline=None, max_examples=25)
@given(targeted=st.booleans(), seed=st.integers(0, 1000), scale=st.floats(0.1, 20))
def test_cos_pgd_weighs_by_the_cosine_and_takes_it_as_constant(targeted, seed, scale):
    logits, label = batch(seed=seed, scale=scale)
    logits.requires_grad_()
    cosine = F.cosine_similarity(pair(logits.sigmoid()), pair(label.double()), dim=0).detach()
    weight = 1 - cosine if targeted else cosine
    loss = CosPGDLoss(targeted, activation="sigmoid")(logits, label)
    assert torch.allclose(loss, (weight * binary(logits, label)).mean())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.allclose(gradient, weight * (logits.sigmoid() - label) / label.numel())


@pytest.mark.parametrize("loss_class", LOSSES)
def test_classes_do_not_feel_each_other(loss_class):
    logits, label = batch()
    loss = loss_class(activation="sigmoid")
    alone = [loss(logits[:, i : i + 1], label[:, i : i + 1]) for i in range(3)]
    assert torch.allclose(loss(logits, label), torch.stack(alone).mean())


@pytest.mark.parametrize("loss_class", LOSSES)
def test_class_map_and_unknown_activation_are_refused(loss_class):
    logits, label = batch()
    with pytest.raises(ValueError, match="label has 1 channel"):
        loss_class(activation="sigmoid")(logits, label[:, :1])
    with pytest.raises(ValueError, match="activation='tanh'"):
        loss_class(activation="tanh")
