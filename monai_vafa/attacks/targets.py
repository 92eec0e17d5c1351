# SPDX-License-Identifier: Apache-2.0
"""Label maps for targeted attacks: what the network is to predict."""

from __future__ import annotations

import copy
from typing import Any

import torch
from monai.config import NdarrayOrTensor
from monai.transforms import MapLabelValue, Transform

from monai_vafa.outputs import Activation, check_activation

from .checks import check_integer


class _RelabelTarget(Transform):
    """Base of targets that give some classes of a label another number (sigmoid: other channels)."""

    backend = MapLabelValue.backend

    def __init__(self, orig_labels: list[int], target_labels: list[int], activation: Activation) -> None:
        self.activation = check_activation(activation)
        self.classes = [check_integer("classes", c) for c in orig_labels]
        targets = [check_integer("classes", c) for c in target_labels]
        if min(self.classes + targets) < 0:
            raise ValueError(f"classes must be integers of at least 0, got {orig_labels} and {target_labels}.")
        if activation == "softmax" and self.classes == targets:
            raise ValueError(f"class {self.classes[0]} would stay as it is: give two different classes.")
        self._relabel = MapLabelValue(self.classes, targets)

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """The target of a class map of any shape, or with sigmoid of ``(classes, *spatial)``, 0 and 1."""
        if isinstance(label, torch.Tensor) and label.dtype is torch.bfloat16:  # MONAI's transform works with NumPy
            label = label.float()
        if self.activation == "softmax":
            target: Any = self._relabel(label)
        elif max(self.classes) >= len(label):
            raise ValueError(f"label has {len(label)} channels, none for class {max(self.classes)}.")
        else:
            target = copy.deepcopy(label)
            # Of two classes, each gets the channel of the other; one alone is erased.
            target[self.classes] = label[self.classes[::-1]] if len(self.classes) > 1 else 0
        if bool((target == label).all()):
            raise ValueError(
                f"label holds nothing to change for {type(self).__name__} of {self.classes}: an attack towards the "
                "label itself would improve the prediction. Choose classes that the case shows, or leave the case out."
            )
        return target


class EraseClass(_RelabelTarget):
    """
    Target without one of the classes ("there is no tumour").

    Args:
        class_index: the class to erase.
        fill: the class that takes its place; not with sigmoid.
        activation: ``"softmax"`` for class maps, ``"sigmoid"`` for labels with a channel per class.

    Raises:
        ValueError: If a class is not an integer of at least 0, both are the same, ``activation`` is unknown, or
            ``fill`` is given for sigmoid.
    """

    def __init__(self, class_index: int, fill: int = 0, activation: Activation = "softmax") -> None:
        if check_integer("fill", fill) != 0 and check_activation(activation) == "sigmoid":
            raise ValueError(f"fill={fill} needs activation='softmax': with sigmoid no class replaces an erased one.")
        super().__init__([class_index], [fill], activation)


class SwapClasses(_RelabelTarget):
    """
    Target in which two classes trade places ("left is right").

    Args:
        a: one class.
        b: the other.
        activation: see :class:`EraseClass`, also for errors.
    """

    def __init__(self, a: int, b: int, activation: Activation = "softmax") -> None:
        if check_integer("a", a) == check_integer("b", b):
            raise ValueError(f"a={a} and b={b} are one class, so that every label would stay as it is.")
        super().__init__([a, b], [b, a], activation)
