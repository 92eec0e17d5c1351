# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_vafa.losses.voxelwise import VoxelAnswers
from monai_vafa.outputs import check_activation, check_class_channels, predicted_labels


def logits_of(*values):
    """One voxel of a batch of one."""
    return torch.tensor(values).reshape(1, -1, 1, 1, 1)


def test_softmax_says_the_largest_class():
    assert predicted_labels(logits_of(-3.0, -1.0, -2.0)).flatten().tolist() == [1]


def test_sigmoid_says_each_class_by_itself():
    assert predicted_labels(logits_of(3.0, -1.0, 2.0), "sigmoid").flatten().tolist() == [1, 0, 1]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_single_channel_is_a_class_by_itself(activation):
    logits = torch.tensor([[-1.0, 2.0]]).reshape(1, 1, 2, 1, 1)
    assert predicted_labels(logits, activation).flatten().tolist() == [0, 1]


@settings(deadline=None, max_examples=25)
@given(classes=st.integers(1, 4), dims=st.integers(2, 3), seed=st.integers(0, 1000), scale=st.floats(0.1, 50))
def test_sigmoid_answers_as_a_softmax_over_absent_and_present(classes, dims, seed, scale):
    draw = torch.Generator().manual_seed(seed)
    shape = (2, classes, *(3, 4, 5)[:dims])
    logits = (torch.randn(shape, generator=draw, dtype=torch.float64) * scale).requires_grad_()
    label = torch.randint(2, shape, generator=draw)
    answers = VoxelAnswers(logits, label.double(), "sigmoid")
    pairs = torch.stack([torch.zeros_like(logits), logits], 1).flatten(2)[..., None]
    as_softmax = VoxelAnswers(pairs, label.reshape(2, 1, -1, 1), "softmax")
    for ask in ("cross_entropy", "correct", "cosine"):
        given, expected = (getattr(a, ask)().flatten() for a in (answers, as_softmax))
        torch.testing.assert_close(given, expected)
    slopes = [torch.autograd.grad(a.cross_entropy().mean(), logits)[0] for a in (answers, as_softmax)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (torch.zeros(1, 1, 2, 2), r"1 channel .a class map.., but activation='sigmoid' takes .B, 3"),
        (torch.zeros(1, 2, 2, 2), "label has 2 channels, but"),
        (torch.full((1, 3, 2, 2), 2.0), "label holds 2,"),
        (torch.full((1, 3, 2, 2), 0.5), r"label holds 0\.5,"),
        (torch.full((1, 3, 2, 2), torch.nan), "label holds nan,"),
    ],
)
def test_what_is_no_channel_of_0_and_1_per_class_is_named(label, message):
    check_class_channels(torch.ones(1, 3, 2, 2), 3)
    with pytest.raises(ValueError, match=message):
        check_class_channels(label, 3)


def test_unknown_activation_is_named():
    with pytest.raises(ValueError, match="activation='relu'"):
        check_activation("relu")
