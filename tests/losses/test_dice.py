# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceCELoss

from monai_vafa.losses import DiceCrossEntropyLoss, SoftDiceLoss


def batch(classes=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, classes, 3, 4, 5, generator=draw) * 2
    return logits, torch.randint(2, logits.shape, generator=draw).float()


def soft_dice(logits, label):
    """One minus the Dice of each class by itself, squares in the denominator."""
    p = logits.sigmoid()
    each = [2 * (p[:, c] * label[:, c]).sum() / (p[:, c] ** 2 + label[:, c]).sum() for c in range(label.shape[1])]
    return 1 - torch.stack(each).mean()


@settings(deadline=None, max_examples=25)
@given(classes=st.integers(1, 4), seed=st.integers(0, 1000))
def test_sigmoid_losses_by_hand(classes, seed):
    logits, label = batch(classes, seed)
    torch.testing.assert_close(SoftDiceLoss(activation="sigmoid")(logits, label), soft_dice(logits, label))
    entropy = F.binary_cross_entropy_with_logits(logits, label)
    torch.testing.assert_close(
        DiceCrossEntropyLoss(activation="sigmoid")(logits, label), soft_dice(logits, label) + entropy
    )


def test_of_one_class_it_is_monais_own():
    logits, label = batch(classes=1)
    monai = DiceCELoss(sigmoid=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-6)
    torch.testing.assert_close(DiceCrossEntropyLoss(activation="sigmoid")(logits, label), monai(logits, label))


@pytest.mark.parametrize("present", [0.0, 1.0])
def test_voxels_without_and_with_all_classes_are_attacked_too(present):
    """The softmax cross entropy of several channels has no gradient where no class is, or all are."""
    logits, _ = batch()
    label = torch.full_like(logits, present)
    logits.requires_grad_()
    DiceCrossEntropyLoss(activation="sigmoid")(logits, label).backward()
    assert (logits.grad.sign() == (1 - 2 * present)).all()
