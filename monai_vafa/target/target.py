# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""A segmentation bundle as the target of an attack."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from monai.inferers import Inferer
from monai.transforms import Compose

from monai_vafa.attacks import SlidingWindowAttack

from .cases import check_items, find_cases
from .preprocessing import Preprocessing
from .windows import fitting_sides

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
        window: sides of what the network sees at once, one per axis of the preprocessed image, as inferer or metadata
            say; -1 where they say nothing.
        slice_axis: axis of the image that counts the slices, when a network for 2-D images is asked about each slice
            of a volume; else ``None``.
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
        read_items: makes :attr:`items`, with another ``dataset_dir`` than the config's when given one.
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
    window: tuple[int, ...]
    slice_axis: int | None
    class_names: list[str]
    activation: str
    loss: Callable | None
    intensity_range: tuple[float, float] | None
    to_file_units: Callable[[torch.Tensor], torch.Tensor] | None
    image_key: str
    label_key: str
    checkpoint: Path
    workflow: ConfigWorkflow
    read_items: Callable[[str | None], list[dict[str, Any]] | None] = field(repr=False)

    @cached_property
    def items(self) -> list[dict[str, Any]] | None:
        """Cases that the config names, evaluated when first asked for; ``None`` when it names none on this machine."""
        return self.read_items(None)

    @property
    def spatial_dims(self) -> int:
        """Number of spatial axes of preprocessed images, 2 or 3."""
        return len(self.window)

    @property
    def slicewise(self) -> bool:
        """Whether the network looks at 2-D images, be they slices of a volume: VAFA-2D is its frequency attack."""
        return self.spatial_dims == 2 or self.slice_axis is not None

    @property
    def axial(self) -> bool:
        """
        Whether slices are counted by the last axis, as :class:`monai_vafa.attacks.SliceFrequencyAttack` and VAFA's
        re-scaling take for granted; true of volumes that nobody cuts into slices.
        """
        return self.slice_axis in (None, 2)

    def block_size(self, largest: int = 32, *, in_plane: bool = False) -> list[int]:
        """
        Block sides that fit the network's window.

        Args:
            largest: sides where the window leaves room for it, in voxels.
            in_plane: the two sides within an axial slice, for :class:`monai_vafa.attacks.SliceFrequencyAttack`.

        Returns:
            a side per axis of the image; 1 along :attr:`slice_axis`.
        """
        sides = fitting_sides(self.window, largest)
        if self.slice_axis is not None:
            sides[self.slice_axis] = 1
        return sides[:2] if in_plane else sides

    @property
    def windows(self) -> SlidingWindowAttack:
        """How an attack covers a whole volume: by the windows of the inferer, side by side."""
        return SlidingWindowAttack(-1 if self.roi_size is None else self.roi_size, self.sw_batch_size)

    def cases(
        self, dataset_dir: str | os.PathLike | None = None, *, section: str | None = None
    ) -> list[dict[str, Any]]:
        """
        Cases to attack, images with their labels where there are any.

        Args:
            dataset_dir: a folder; the first that it holds of: images with labels in a layout that
                :func:`monai_vafa.data.folder_cases` knows, the files that the bundle's config looks for, images without
                labels. ``None`` for the cases that the config names.
            section: section of the folder's ``dataset.json``, see :func:`monai_vafa.data.folder_cases`.

        Returns:
            a dictionary per case, for :attr:`preprocessing`.

        Raises:
            FileNotFoundError: When the folder does not exist.
            ValueError: When there are no cases; says where they may come from.
        """
        if dataset_dir is not None:
            return find_cases(
                dataset_dir,
                section=section,
                image_key=self.image_key,
                label_key=self.label_key,
                read_items=self.read_items,
                name=self.name,
            )
        if section is not None:
            raise ValueError(f"section={section!r} names a part of a folder's dataset.json: give dataset_dir with it.")
        return check_items(self.items, image_key=self.image_key, name=self.name)
