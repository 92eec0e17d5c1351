# SPDX-License-Identifier: Apache-2.0
"""Voxels without a label count neither for losses nor for success, in attacks and evaluation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss
from torch import nn

from monai_vafa.attacks import AutoPGD, BasicIterative, CosPGD, SlidingWindowAttack, SquareAttack


@pytest.fixture(params=[255, -1])
def ignore_label(request):
    return request.param


@pytest.fixture
def void_label(label, ignore_label):
    label[..., :5] = ignore_label
    return label


def test_loss_is_torchs_with_ignore_index(network, image, void_label, ignore_label):
    attack = BasicIterative(steps=1, loss=nn.CrossEntropyLoss(), ignore_label=ignore_label)
    expected = F.cross_entropy(network(image), void_label[:, 0], ignore_index=ignore_label)
    assert attack.run(network, image, void_label).losses.item() == pytest.approx(expected.item(), rel=1e-5)


def test_default_loss_is_that_of_the_rest(network, image, void_label, ignore_label):
    loss = DiceCELoss(to_onehot_y=True, softmax=True, squared_pred=True, smooth_nr=0, smooth_dr=1e-6)
    expected = loss(network(image)[..., 5:], void_label[..., 5:])
    result = BasicIterative(steps=1, ignore_label=ignore_label).run(network, image, void_label)
    assert result.losses.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("attack", [BasicIterative(steps=3), CosPGD(steps=3, random_start=False)])
def test_void_voxels_of_a_voxelwise_network_stay_as_they_are(image, void_label, ignore_label, attack):
    voxelwise = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Softplus(), nn.Conv3d(4, 3, 1))
    result = attack.run(voxelwise, image, void_label, ignore_label=ignore_label)
    alone = attack.run(voxelwise, image[..., 5:], void_label[..., 5:])
    assert torch.equal(result.adversarial[..., :5], image[..., :5])
    assert torch.allclose(result.adversarial[..., 5:], alone.adversarial, atol=1e-6)


@pytest.mark.parametrize("attack", [AutoPGD(steps=5), SquareAttack(steps=5)])
def test_what_void_voxels_are_called_has_no_effect(network, image, void_label, ignore_label, attack):
    other = void_label.masked_fill(void_label == ignore_label, 7)
    adversarial = attack.run(network, image, other, ignore_label=7).adversarial
    assert torch.equal(attack.run(network, image, void_label, ignore_label=ignore_label).adversarial, adversarial)


def test_success_is_that_of_the_rest(image, label):
    class Says1(nn.Module):
        def forward(self, x):
            return torch.cat([x * 0, x * 0 + 1, x * 0], 1)

    label.zero_()[..., :5] = 255
    assert BasicIterative(steps=5, ignore_label=255).run(Says1(), image, label).steps.tolist() == [1]
    label[..., :5] = 1  # the void voxels alone would be right
    assert BasicIterative(steps=5).run(Says1(), image, label).steps.tolist() == [5]


def test_a_window_of_void_is_left_alone(network, image, label):
    label[..., :8] = 255
    attacked = SlidingWindowAttack(8)(BasicIterative(steps=2), network, image, label, ignore_label=255)
    assert torch.equal(attacked[..., :8], image[..., :8])
    assert not torch.equal(attacked[..., 8:], image[..., 8:])


def test_sigmoid(network, image, label):
    channels = torch.cat([label == 1, label == 2, label > 0], 1).float()
    channels[..., :5] = 255
    attack = BasicIterative(steps=1, activation="sigmoid", loss=nn.BCEWithLogitsLoss(), ignore_label=255)
    expected = F.binary_cross_entropy_with_logits(network(image)[..., 5:], channels[..., 5:])
    assert attack.run(network, image, channels).losses.item() == pytest.approx(expected.item(), rel=1e-5)
    channels[:, 1, ..., :5] = 0
    with pytest.raises(ValueError, match="ignore_label=255 in some channels"):
        attack(network, image, channels)


def test_void_is_named_where_it_is_not_expected_and_the_way_out_works(network, image, void_label, ignore_label):
    with pytest.raises(ValueError, match=f"give ignore_label={ignore_label}|Give ignore_label={ignore_label}"):
        BasicIterative(steps=1)(network, image, void_label)
    assert not torch.equal(BasicIterative(steps=1, ignore_label=ignore_label)(network, image, void_label), image)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.int32, torch.float32, torch.bool])
def test_labels_of_any_dtype(network, image, label, dtype):
    label = label.clamp(max=1)
    expected = BasicIterative(steps=2)(network, image, label)
    assert torch.equal(BasicIterative(steps=2)(network, image, label.to(dtype)), expected)
    assert SlidingWindowAttack(12)(BasicIterative(steps=2), network, image, label.to(dtype)).shape == image.shape
