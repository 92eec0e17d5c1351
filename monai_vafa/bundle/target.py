# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""A segmentation bundle as the target of an attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from monai.inferers import Inferer
from monai.transforms import Compose

from .preprocessing import Preprocessing

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """
    What an attack needs of a segmentation bundle.

    Args:
        name: name of the folder, which is that of the bundle in the zoo.
        folder: absolute path of the bundle.
        network: on ``device``, with its weights, in eval mode. Its output may be a list or dict, whose full-resolution
            logits :func:`monai_vafa.attacks.objective.as_logits` finds.
        device: where the network is.
        preprocessing: ``{"image": path or paths, "label": path}`` -> the same keys with MetaTensors ``(C, *spatial)``
            and, on the same grid, ``(1, *spatial)`` (softmax: map of classes) or ``(classes, *spatial)`` (sigmoid).
        postprocessing: the bundle's own, of a dictionary with the preprocessed image and the logits as ``"pred"``,
            without what writes files; ``None`` where there is none.
        inferer: how the network predicts a whole volume.
        roi_size: window of the inferer; ``None`` when it takes the whole volume at once.
        sw_batch_size: number of windows at a time.
        class_names: names of the network's output channels.
        activation: "softmax" when the classes exclude each other, "sigmoid" when they may overlap.
        loss: of the training, where the config has it.
        intensity_range: lowest and highest value of preprocessed images; ``None`` for each volume's own.
        to_file_units: turns a preprocessed image ``(C, *spatial)`` into the units of its file; ``None`` when the way
            back can't be known.
        image_key: key of the image.
        label_key: key of the label.
        checkpoint: the weights file.
        workflow: the bundle's config, read but not run; its ``parser`` builds further parts.
        read_items: makes :attr:`items`.
    """

    name: str
    folder: Path
    network: torch.nn.Module
    device: torch.device
    preprocessing: Preprocessing
    postprocessing: Compose | None
    inferer: Inferer
    roi_size: tuple[int, ...] | int | None
    sw_batch_size: int
    class_names: list[str]
    activation: str
    loss: Callable | None
    intensity_range: tuple[float, float] | None
    to_file_units: Callable[[torch.Tensor], torch.Tensor] | None
    image_key: str
    label_key: str
    checkpoint: Path
    workflow: ConfigWorkflow
    read_items: Callable[[], list[dict[str, Any]] | None] = field(repr=False)

    @cached_property
    def items(self) -> list[dict[str, Any]] | None:
        """Cases that the config names, evaluated when first asked for; ``None`` when it names none on this machine."""
        return self.read_items()
