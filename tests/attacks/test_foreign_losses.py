# SPDX-License-Identifier: Apache-2.0
"""Losses of users get the label in the form that they take, or an error names ``loss`` and the forms."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss, DiceLoss, FocalLoss, GeneralizedDiceLoss
from torch import nn

from monai_vafa.attacks import BasicIterative


def squeezed(logits, label):
    return F.cross_entropy(logits, label[:, 0])


def one_hot(logits, label):
    return F.one_hot(label[:, 0], logits.shape[1]).movedim(-1, 1).float()


# The loss as users have it, and the same written for a class map (B, 1, *spatial).
FORMS = {
    "cross_entropy_module": (nn.CrossEntropyLoss(), squeezed),
    "cross_entropy_function": (F.cross_entropy, squeezed),
    "weighted": (
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])),
        lambda x, y: F.cross_entropy(x, y[:, 0], weight=torch.tensor([1.0, 2.0, 3.0])),
    ),
    "nll": (lambda x, y: F.nll_loss(x.log_softmax(1), y), squeezed),
    "dice_to_onehot": (DiceLoss(to_onehot_y=True, softmax=True),) * 2,
    "dice": (DiceLoss(softmax=True), DiceLoss(to_onehot_y=True, softmax=True)),
    "generalized_dice": (GeneralizedDiceLoss(softmax=True), GeneralizedDiceLoss(to_onehot_y=True, softmax=True)),
    "dice_ce": (DiceCELoss(softmax=True), lambda x, y: DiceCELoss(softmax=True)(x, one_hot(x, y))),
    "focal": (FocalLoss(), lambda x, y: FocalLoss()(x, one_hot(x, y))),
    "bce": (nn.BCEWithLogitsLoss(), lambda x, y: F.binary_cross_entropy_with_logits(x, one_hot(x, y))),
    "mse": (nn.MSELoss(), lambda x, y: F.mse_loss(x, one_hot(x, y))),
    "keeps_a_dimension": (lambda x, y: squeezed(x, y).reshape(1, 1), squeezed),
    "double": (lambda x, y: squeezed(x.double(), y), squeezed),
}


@pytest.mark.parametrize("name", FORMS)
def test_usual_forms(network, image, label, name):
    given, written = FORMS[name]
    result = BasicIterative(steps=3, loss=given).run(network, image, label)
    expected = BasicIterative(steps=3, loss=written).run(network, image, label)
    assert torch.allclose(result.losses, expected.losses, atol=1e-5)
    assert ((result.adversarial - expected.adversarial).abs() < 1e-6).float().mean() > 0.999


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), DiceLoss(sigmoid=True), nn.SoftMarginLoss()])
def test_losses_of_channels_with_sigmoid(network, image, label, loss):
    channels = torch.cat([label == 1, label == 2, label > 0], 1)
    result = BasicIterative(steps=3, loss=loss, activation="sigmoid").run(network, image, channels)
    assert result.losses[-1] > result.losses[0]


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (nn.CrossEntropyLoss(reduction="none"), ValueError, r"loss=CrossEntropyLoss must return a scalar.*reduction="),
        (lambda x, y: squeezed(x, y).item(), TypeError, "must return a scalar tensor, got float"),
        (lambda x, y: (squeezed(x, y), 0), TypeError, "must return a scalar tensor, got tuple"),
        (lambda x, y: squeezed(x.detach(), y), ValueError, "passes no gradient to the logits"),
        (lambda x: x.sum(), ValueError, r"loss=<lambda> must be loss\(logits, label\) -> scalar.*of int64"),
        (nn.CTCLoss(), ValueError, r"loss=CTCLoss must be loss\(logits, label\).*\(1, 1, 16, 16, 16\) of int64"),
    ],
)
def test_what_is_no_such_loss_is_named(network, image, label, loss, error, message):
    with pytest.raises(error, match=message):
        BasicIterative(steps=1, loss=loss)(network, image, label)


def test_what_is_no_function_is_named_when_the_attack_is_made():
    with pytest.raises(TypeError, match="loss='dice' must be a function"):
        BasicIterative(loss="dice")


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss(), DiceLoss(softmax=True)])
def test_one_hot_labels_are_the_class_map(image, label, loss, classes):
    torch.manual_seed(0)
    network, label = nn.Conv3d(1, classes, 3, padding=1), label % classes
    channels = torch.cat([label == c for c in range(classes)], 1)
    attack = BasicIterative(steps=3, loss=loss)
    result, expected = attack.run(network, image, channels), attack.run(network, image, label)
    assert torch.equal(result.steps, expected.steps)
    assert torch.allclose(result.losses, expected.losses, atol=1e-5)


def test_channels_that_overlap_are_refused_with_softmax_and_the_way_out_works(network, image, label):
    channels = torch.cat([label > 0, label == 1, label == 2], 1)
    with pytest.raises(ValueError, match=r"exactly one of them.*activation='sigmoid'"):
        BasicIterative(steps=1)(network, image, channels)
    assert not torch.equal(BasicIterative(steps=1, activation="sigmoid")(network, image, channels), image)
