# SPDX-License-Identifier: Apache-2.0
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
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 3, 4, 5, generator=draw, dtype=torch.float64) * scale
    return logits, torch.randint(classes, (2, 1, 3, 4, 5), generator=draw)


def kullback_leibler(p, q):
    return torch.where(p > 0, p * (p / q).log(), 0.0).sum(1)


@settings(deadline=None, max_examples=25)
@given(classes=st.integers(2, 5), seed=st.integers(0, 1000), scale=st.floats(0.1, 20))
def test_jensen_shannon_is_what_it_is_defined_as(classes, seed, scale):
    logits, label = batch(classes, seed, scale)
    p, q = logits.softmax(1), F.one_hot(label[:, 0], classes).movedim(-1, 1).double()
    m = (p + q) / 2
    expected = (kullback_leibler(p, m) + kullback_leibler(q, m)).mean() / 2
    assert torch.allclose(JensenShannonLoss()(logits, label), expected, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), scale=st.floats(0, 200))
def test_jensen_shannon_is_between_0_and_log_2(seed, scale):
    logits, label = batch(seed=seed, scale=scale)
    loss = float(JensenShannonLoss()(logits.float(), label))
    assert -1e-6 <= loss <= math.log(2) + 1e-6


@pytest.mark.parametrize(("right", "expected"), [(True, 0.0), (False, math.log(2))])
def test_jensen_shannon_reaches_its_bounds_without_nan(right, expected):
    logits = torch.tensor([200.0, -200.0]).reshape(1, 2, 1, 1, 1).requires_grad_()
    loss = JensenShannonLoss()(logits, torch.full((1, 1, 1, 1, 1), 0 if right else 1))
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(logits.grad).all()


def test_gradient_of_jensen_shannon_fades_where_a_voxel_is_very_wrong():
    def slope(margin):
        logits = torch.tensor([-margin, margin]).reshape(1, 2, 1, 1, 1).requires_grad_()
        JensenShannonLoss()(logits, torch.zeros(1, 1, 1, 1, 1)).backward()
        return float(logits.grad.abs().max())

    assert slope(5.0) < 0.01 * slope(0.0)


def test_masked_cross_entropy_leaves_out_wrong_voxels_but_counts_them():
    logits, label = batch()
    each = F.cross_entropy(logits, label[:, 0], reduction="none")
    correct = logits.argmax(1) == label[:, 0]
    assert 0 < correct.sum() < correct.numel()
    expected = each[correct].sum() / correct.numel()
    assert torch.allclose(MaskedCrossEntropyLoss()(logits, label), expected)


def test_masked_cross_entropy_pulls_at_correct_voxels_only():
    logits, label = batch()
    logits.requires_grad_()
    MaskedCrossEntropyLoss()(logits, label).backward()
    correct = logits.argmax(1) == label[:, 0]
    assert torch.equal(logits.grad.abs().sum(1) > 0, correct)


def test_balanced_masked_cross_entropy_is_that_of_the_code_of_sea():
    """Its weights are those of a data set, in proportion to the inverse frequency of each class."""
    logits, label = batch(classes=4)
    label[label == 3] = 1  # a class that is nowhere
    shares = torch.stack([(label == c).double().mean() for c in range(3)])
    weights = torch.cat([1 / (3 * shares), torch.tensor([7.0])])
    correct = logits.argmax(1) == label[:, 0]
    each = F.cross_entropy(logits, label[:, 0], weight=weights, reduction="none")
    assert torch.allclose(MaskedCrossEntropyLoss(balanced=True)(logits, label), (correct * each).mean())
    assert weights[label].mean() == pytest.approx(1)


def test_balanced_masked_cross_entropy_gives_all_classes_equal_say():
    label = torch.tensor([0] * 12 + [1] * 3 + [2]).reshape(1, 1, 4, 4, 1)
    logits = 0.1 * F.one_hot(label[:, 0], 3).movedim(-1, 1)  # right everywhere, and equally sure
    logits.requires_grad_()
    MaskedCrossEntropyLoss(balanced=True)(logits, label).backward()
    pull = [float(logits.grad[label.expand(-1, 3, -1, -1, -1) == c].abs().sum()) for c in range(3)]
    assert pull == pytest.approx([pull[0]] * 3)
    plain, balanced = (MaskedCrossEntropyLoss(flag)(logits, label) for flag in (False, True))
    assert torch.allclose(plain, balanced)


def test_balanced_is_a_switch():
    with pytest.raises(TypeError, match="balanced='false' must be True or False"):
        MaskedCrossEntropyLoss("false")


@pytest.mark.parametrize("wrong_weight", [0.0, 0.2, 1.0])
def test_seg_pgd_weighs_right_and_wrong_voxels_apart(wrong_weight):
    logits, label = batch()
    each = F.cross_entropy(logits, label[:, 0], reduction="none")
    correct = logits.argmax(1) == label[:, 0]
    expected = ((1 - wrong_weight) * each[correct].sum() + wrong_weight * each[~correct].sum()) / each.numel()
    assert torch.allclose(SegPGDLoss(wrong_weight)(logits, label), expected)


def test_cosine_is_that_of_the_logits():
    logits, label = batch()
    onehot = F.one_hot(label[:, 0], 3).movedim(-1, 1).double()
    expected = (1 - F.cosine_similarity(logits, onehot)).mean()
    assert torch.allclose(CosineLoss()(logits, label), expected)
    assert not torch.allclose(CosineLoss()(logits + 1, label), expected)
    assert torch.isfinite(torch.autograd.functional.jacobian(lambda x: CosineLoss()(x, label), 0 * logits)).all()


@pytest.mark.parametrize("q", [-2.0, -0.5, 0.0, 0.999999, 1.0])
def test_tsallis_weighs_the_gradient_of_cross_entropy_by_a_power_of_the_probability(q):
    logits, label = batch()
    logits.requires_grad_()
    p = logits.softmax(1)
    right = p.gather(1, label)
    loss = TsallisLoss(q)(logits, label)
    entropy = -right.log() if q == 1 else (1 - right ** (1 - q)) / (1 - q)
    assert torch.allclose(loss, entropy.mean(), atol=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    onehot = F.one_hot(label[:, 0], 3).movedim(-1, 1)
    assert torch.allclose(gradient, right ** (1 - q) * (p - onehot) / label.numel(), atol=1e-9)


@pytest.mark.parametrize("q", [-2.0, 0.0, 1.0])
def test_tsallis_is_finite_where_a_voxel_is_very_wrong_or_very_right(q):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]]).reshape(2, 2, 1, 1, 1).requires_grad_()
    loss = TsallisLoss(q)(logits, torch.zeros(2, 1, 1, 1, 1))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("q", [1.5, -math.inf, math.nan, "0"])
def test_impossible_q_is_named(q):
    with pytest.raises(ValueError, match=f"q={q} must be at most 1"):
        TsallisLoss(q)


@pytest.mark.parametrize("targeted", [False, True])
def test_cos_pgd_weighs_by_the_cosine(targeted):
    logits, label = batch()
    onehot = F.one_hot(label[:, 0], 3).movedim(-1, 1).double()
    cosine = F.cosine_similarity(logits.softmax(1), onehot)
    weight = 1 - cosine if targeted else cosine
    expected = (weight * F.cross_entropy(logits, label[:, 0], reduction="none")).mean()
    assert torch.allclose(CosPGDLoss(targeted)(logits, label), expected)


def test_weights_are_constants_in_the_backward_pass():
    logits, label = batch()
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(CosPGDLoss()(logits, label), logits)
    onehot = F.one_hot(label[:, 0], 3).movedim(-1, 1).double()
    p = logits.detach().softmax(1)
    weight = F.cosine_similarity(p, onehot)[:, None]
    assert torch.allclose(gradient, weight * (p - onehot) / label.numel())


@pytest.mark.parametrize("loss_class", LOSSES)
def test_one_class_or_no_class_map_is_refused(loss_class):
    logits, label = batch()
    with pytest.raises(ValueError, match="logits have 1 channel"):
        loss_class()(logits[:, :1], label)
    with pytest.raises(ValueError, match="label has 3 channels"):
        loss_class()(logits, label.expand(-1, 3, -1, -1, -1))


@pytest.mark.parametrize("wrong_weight", [-0.1, 1.1])
def test_impossible_weight_is_named(wrong_weight):
    with pytest.raises(ValueError, match=f"wrong_weight={wrong_weight}"):
        SegPGDLoss(wrong_weight)
