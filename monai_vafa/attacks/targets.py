# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Label maps for targeted attacks: what the attacker wants the network to say."""

from __future__ import annotations

from monai.config import NdarrayOrTensor
from monai.transforms import MapLabelValue, Transform

__all__ = ["EraseClass", "SwapClasses"]


class _RelabelTarget(Transform):
    """A target made from a label map by giving some classes another number."""

    backend = MapLabelValue.backend

    def __init__(self, orig_labels: list[int], target_labels: list[int]) -> None:
        if any(int(c) != c or c < 0 for c in orig_labels + target_labels):
            raise ValueError(f"classes must be whole numbers, 0 or more, got {orig_labels} and {target_labels}.")
        self._relabel = MapLabelValue(orig_labels, target_labels)

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Make the target.

        Args:
            label: class map of any shape.

        Returns:
            the target, same shape and dtype.
        """
        return self._relabel(label)


class EraseClass(_RelabelTarget):
    """
    Target in which a class has vanished ("the tumour is not there").

    Args:
        class_index: the class to erase.
        fill: the class that stands in its place.
    """

    def __init__(self, class_index: int, fill: int = 0) -> None:
        super().__init__([class_index], [fill])


class SwapClasses(_RelabelTarget):
    """
    Target in which two classes have changed places ("left is right").

    Args:
        a: one class.
        b: the other.
    """

    def __init__(self, a: int, b: int) -> None:
        super().__init__([a, b], [b, a])
