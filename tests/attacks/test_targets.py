# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_vafa.attacks import EraseClass, SwapClasses


def test_erased_class_becomes_background():
    assert EraseClass(2)(torch.tensor([0, 1, 2, 2])).tolist() == [0, 1, 0, 0]


def test_erased_class_can_become_another():
    assert EraseClass(2, fill=1)(torch.tensor([0, 1, 2])).tolist() == [0, 1, 1]


def test_swapped_classes_change_places():
    assert SwapClasses(1, 2)(torch.tensor([0, 1, 2, 3])).tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_kind_and_shape_are_kept(kind):
    label = kind([[[1, 2]]])
    target = EraseClass(1)(label)
    assert type(target) is type(label)
    assert target.shape == label.shape


def test_input_is_left_alone():
    label = torch.tensor([1, 2])
    SwapClasses(1, 2)(label)
    assert label.tolist() == [1, 2]


def test_impossible_classes_are_refused():
    with pytest.raises(ValueError, match="classes"):
        EraseClass(-1)


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_channels_of_classes_that_may_overlap(kind):
    label = kind([[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    assert EraseClass(1, activation="sigmoid")(label).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert SwapClasses(0, 2, activation="sigmoid")(label).tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 0]]
    assert label.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_what_has_no_meaning_for_channels_is_refused():
    with pytest.raises(ValueError, match="fill=1"):
        EraseClass(2, fill=1, activation="sigmoid")
    with pytest.raises(ValueError, match="2 channels, none for class 2"):
        EraseClass(2, activation="sigmoid")(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="activation='tanh'"):
        SwapClasses(0, 1, activation="tanh")
