# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What the channels of a bundle's network mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Activationsd, AsDiscreted

__all__ = ["find_activation", "output_classes"]

# Formats in metadata.json that go with a network whose output has the shape of its input, beside "segmentation".
_PERHAPS_DENSE = (None, "labels", "logits", "probability", "probabilities")


def output_classes(metadata: Mapping[str, Any], name: str) -> list[str]:
    """
    Names of the channels of a segmentation network.

    Args:
        metadata: content of ``metadata.json``.
        name: of the bundle, for messages.

    Returns:
        a name for each channel, by number. A network of one channel is named after its foreground.

    Raises:
        ValueError: When the metadata describes no segmentation, or channels that don't fit each other.
    """
    data_format = metadata.get("network_data_format") or {}
    outputs, inputs = data_format.get("outputs") or {}, data_format.get("inputs") or {}
    pred, image = outputs.get("pred"), inputs.get("image")
    if pred is None:
        raise ValueError(
            f"bundle {name} can't be attacked as a segmentation: its metadata.json (task {metadata.get('task')!r}) "
            f"describes no output 'pred', but {', '.join(outputs) or 'none'}."
        )
    same_shape = image is not None and pred.get("spatial_shape") == image.get("spatial_shape")
    if pred.get("format") != "segmentation" and not (same_shape and pred.get("format") in _PERHAPS_DENSE):
        raise ValueError(
            f"bundle {name} can't be attacked as a segmentation: its metadata.json (task {metadata.get('task')!r}) "
            f"describes an output of type {pred.get('type')!r}, format {pred.get('format')!r} and shape "
            f"{pred.get('spatial_shape')}. If that is wrong, correct its format to 'segmentation'."
        )
    names = {int(key): str(value) for key, value in (pred.get("channel_def") or pred.get("label_def") or {}).items()}
    channels = int(pred.get("num_channels") or len(names))
    if channels == 1 and len(names) == 2:
        names = {0: names[max(names)]}
    if channels == 0 or any(number >= channels for number in names):
        raise ValueError(
            f"bundle {name}: its metadata.json names {len(names)} channels of its output, but counts {channels}. "
            "Networks that are told what to segment (by points or class prompts) can't be attacked; otherwise correct "
            "num_channels or channel_def."
        )
    return [names.get(number, f"class {number}") for number in range(channels)]


def find_activation(
    *, postprocessing: Sequence[Callable], loss: Any, metadata: Mapping[str, Any], class_names: Sequence[str]
) -> str:
    """
    Whether the classes of a network exclude each other.

    The first of these that tells: ``Activationsd``, or argmax or threshold of ``AsDiscreted``, in the
    post-processing; the loss; the metadata, where a channel "background" first, or a value range beyond 1, stands for
    classes that exclude each other.

    Args:
        postprocessing: its transforms.
        loss: of the training, or ``None``.
        metadata: content of ``metadata.json``.
        class_names: names of the channels.

    Returns:
        "softmax" or "sigmoid".
    """
    return _of_postprocessing(postprocessing) or _of_loss(loss) or _of_metadata(metadata, class_names)


def _of_postprocessing(transforms: Sequence[Callable]) -> str | None:
    for transform in transforms:
        if not isinstance(transform, (Activationsd, AsDiscreted)) or "pred" not in transform.keys:
            continue
        which = transform.keys.index("pred")
        if isinstance(transform, Activationsd):
            softmax, sigmoid = transform.softmax[which], transform.sigmoid[which]
        else:
            softmax, sigmoid = transform.argmax[which], transform.threshold[which] is not None
        if softmax or sigmoid:
            return "softmax" if softmax else "sigmoid"
    return None


def _of_loss(loss: Any) -> str | None:
    if loss is None:
        return None
    if isinstance(loss, torch.nn.CrossEntropyLoss):
        return "softmax"
    if isinstance(loss, torch.nn.BCEWithLogitsLoss):
        return "sigmoid"
    for activation in ("softmax", "sigmoid"):
        if getattr(loss, activation, False) is True:
            return activation
    # Compound losses of MONAI keep the flag with their Dice, its deep supervision keeps it with the inner loss.
    return _of_loss(getattr(loss, "dice", None)) or _of_loss(getattr(loss, "loss", None))


def _of_metadata(metadata: Mapping[str, Any], class_names: Sequence[str]) -> str:
    pred = metadata["network_data_format"]["outputs"]["pred"]
    values = [value for value in pred.get("value_range") or [] if isinstance(value, (int, float))]
    exclusive = len(class_names) > 1 and (max(values, default=0) > 1 or class_names[0].lower() == "background")
    return "softmax" if exclusive else "sigmoid"
