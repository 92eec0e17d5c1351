# SPDX-License-Identifier: Apache-2.0
"""What a bundle tells of its network: the classes, whether they exclude each other, voxels without a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.transforms import Activationsd, AsDiscreted, Compose

from .config import components
from .inference import image_format

# Formats in metadata.json, beside "segmentation", of outputs that have the shape of the input.
_POSSIBLY_DENSE = (None, "labels", "logits", "probability", "probabilities")

# What losses and metrics call the number of voxels without a label; configs have ids of these names, too.
_VOID_IDS = ("ignore_label", "ignore_index")


def flat(transform: Callable | Sequence[Callable] | None) -> list[Callable]:
    """Single transforms of a composition, in order."""
    if transform is None:
        return []
    if isinstance(transform, Compose):
        return list(transform.flatten().transforms)
    return list(transform) if isinstance(transform, Sequence) else [transform]


def output_classes(metadata: Mapping[str, Any], name: str) -> list[str]:
    """Names of the output channels of a segmentation network."""
    outputs = (metadata.get("network_data_format") or {}).get("outputs") or {}
    refusal = (
        f"bundle {name} can't be attacked as a segmentation: its metadata.json (task {metadata.get('task')!r}) "
        "describes "
    )
    pred = outputs.get("pred")
    if pred is None:
        raise ValueError(f"{refusal}no output 'pred', but {', '.join(outputs) or 'none'}.")
    kind, shape, image = pred.get("format"), pred.get("spatial_shape"), image_format(metadata)
    same_shape = image and shape == image.get("spatial_shape")
    if kind != "segmentation" and not (same_shape and kind in _POSSIBLY_DENSE):
        raise ValueError(
            f"{refusal}an output of type {pred.get('type')!r}, format {kind!r} and shape {shape}. If that is wrong, "
            "change its format to 'segmentation'."
        )
    told = pred.get("channel_def") or pred.get("label_def") or {}
    names = {int(number): str(text) for number, text in told.items() if str(number).isdecimal()}
    channels = int(pred.get("num_channels") or len(names))
    if channels == 1 and len(names) == 2:
        names = {0: names[max(names)]}
    if channels == 0 or any(number >= channels for number in names):
        raise ValueError(
            f"bundle {name}: its metadata.json names {len(names)} output channels, but num_channels is {channels}. "
            "Networks that take prompts (points or classes) can't be attacked; otherwise correct num_channels or "
            "channel_def."
        )
    return [names.get(number, f"class {number}") for number in range(channels)]


def find_activation(postprocessing: Any, loss: Any, metadata: Mapping[str, Any], class_names: Sequence[str]) -> str:
    """Tell from the post-processing, else the loss, else the metadata whether classes exclude each other (softmax)."""
    if found := _activation_of_postprocessing(flat(postprocessing)) or _activation_of_loss(loss):
        return found
    pred = metadata["network_data_format"]["outputs"]["pred"]
    values = [value for value in pred.get("value_range") or [] if isinstance(value, (int, float))]
    exclusive = len(class_names) > 1 and (max(values, default=0) > 1 or class_names[0].lower() == "background")
    return "softmax" if exclusive else "sigmoid"


def _activation_of_postprocessing(transforms: Sequence[Callable]) -> str | None:
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


def _activation_of_loss(loss: Any) -> str | None:
    if loss is None:
        return None
    for activation, kind in (("softmax", torch.nn.CrossEntropyLoss), ("sigmoid", torch.nn.BCEWithLogitsLoss)):
        if isinstance(loss, kind) or getattr(loss, activation, False) is True:
            return activation
    # Compound losses of MONAI keep the flag in their Dice loss, deep supervision keeps it in the inner loss.
    return _activation_of_loss(getattr(loss, "dice", None)) or _activation_of_loss(getattr(loss, "loss", None))


def find_ignore_label(config: Mapping[str, Any], classes: int) -> int | None:
    """Number of voxels without a label, as the losses, metrics and ids of a config name it; no number of a class."""
    values = [each[key] for each in (config, *dict(components(config)).values()) for key in _VOID_IDS if key in each]
    parser = ConfigParser(dict(config))
    told = [parser.get(each[1:]) if isinstance(each, str) and each.startswith("@") else each for each in values]
    found = {each for each in told if type(each) is int and not 0 <= each < classes}
    return found.pop() if len(found) == 1 else None
