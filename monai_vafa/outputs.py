# SPDX-License-Identifier: Apache-2.0
"""What a network's logits mean: classes that exclude each other (softmax), or each class by itself (sigmoid)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import torch

Activation = Literal["softmax", "sigmoid"]

_UNIT_TOLERANCE = 0.01


def as_logits(output: Any) -> torch.Tensor:
    """
    The full-resolution logits in the output of a segmentation network.

    Args:
        output: a tensor; a list or tuple whose first entry has the full resolution (deep supervision); or a dict
            with the key ``"pred"``, ``"logits"`` or ``"out"``, or with one entry only.

    Raises:
        TypeError: If it is unclear which part the logits are.
    """
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):
        named = [key for key in ("pred", "logits", "out") if key in output]
        if named or len(output) == 1:
            return as_logits(output[(named or list(output))[0]])
        raise TypeError(f"the network returns a dict with keys {sorted(map(str, output))}; name its logits 'pred'.")
    if isinstance(output, list | tuple) and len(output) > 0:
        return as_logits(output[0])
    raise TypeError(f"the network must return logits (tensor, list or dict of tensors), got {type(output).__name__}.")


def check_activation(activation: str) -> Activation:
    """The name of an activation, checked."""
    if not isinstance(activation, str) or activation not in get_args(Activation):
        raise ValueError(f"activation={activation!r} must be 'softmax' (one class per voxel) or 'sigmoid' (any).")
    return cast(Activation, activation)


def classes_exclude(logits: torch.Tensor, activation: str) -> bool:
    """Whether a voxel has exactly one class, that of the largest logit; a single channel is a class by itself."""
    return activation == "softmax" and logits.shape[1] > 1


def predicted_labels(logits: torch.Tensor, activation: str = "softmax") -> torch.Tensor:
    """
    The classes that a network predicts for each voxel.

    Args:
        logits: ``(B, classes, *spatial)``.
        activation: ``"softmax"`` or ``"sigmoid"``.

    Returns:
        int64. Softmax: class map ``(B, 1, *spatial)``, the largest channel. Sigmoid, or a single channel: 0 and 1,
        like ``logits``, 1 where these are positive (a probability above one half).
    """
    return logits.argmax(dim=1, keepdim=True) if classes_exclude(logits, activation) else (logits > 0).long()


def check_class_channels(label: torch.Tensor, num_classes: int) -> None:
    """Check that a label has a channel of 0 and 1 per class, as sigmoid outputs have."""
    check_channels(label, num_classes)
    impossible = label[(label != 0) & (label != 1)]
    if len(impossible):
        raise ValueError(f"label holds {float(impossible[0]):g}, but activation='sigmoid' takes channels of 0 and 1.")


def check_channels(label: torch.Tensor, num_classes: int) -> None:
    """Check that a label has one channel per class."""
    if label.shape[1] != num_classes:
        given = f"{label.shape[1]} channels" if label.shape[1] != 1 else "1 channel (a class map?)"
        raise ValueError(
            f"label has {given}, but activation='sigmoid' takes (B, {num_classes}, *spatial), a channel of 0 and 1 for "
            "each class, such as monai.transforms.ConvertToMultiChannelBasedOnBratsClassesd makes of a class map; "
            "for classes that exclude each other use activation='softmax'."
        )


def check_tensor(name: str, value: torch.Tensor, *, floating: bool = False) -> None:
    """Check that something is a tensor ``(B, C, *spatial)`` of real numbers, with 1 to 3 spatial axes and not empty."""
    if not isinstance(value, torch.Tensor) or value.is_complex() or (floating and not value.is_floating_point()):
        kind = getattr(value, "dtype", type(value).__name__)
        raise TypeError(f"{name} must be a tensor of {'floating' if floating else 'real'} numbers, got {kind}.")
    if not 3 <= value.ndim <= 5 or value.numel() == 0:
        shape = tuple(value.shape)
        raise ValueError(f"{name} must be (B, C, *spatial) with 1 to 3 spatial axes and not empty, got shape {shape}.")


def check_unit(name: str, image: torch.Tensor) -> None:
    """Check that an image has values in [0, 1], up to rounding and resampling, as comparisons of images assume."""
    check_tensor(name, image)
    low, high = torch.aminmax(image.detach())
    if not (low >= -_UNIT_TOLERANCE and high <= 1 + _UNIT_TOLERANCE):
        raise ValueError(
            f"{name} must have values in [0, 1], got [{float(low):.4g}, {float(high):.4g}]: scale both images by one "
            "intensity range first, as in (image - lowest) / (highest - lowest)."
        )
