# SPDX-License-Identifier: Apache-2.0
"""What an attack and its evaluation need to know of a segmentation model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from monai_vafa.attacks import SlidingWindowAttack

# The structural similarity of blocks uses windows of three voxels, or leaves an axis out.
_SMALLEST_SIDE = 3


class Target(Protocol):
    """
    A segmentation model with all that it takes to attack it and to score the result.

    :class:`BundleTarget` is one. Another kind of model becomes a target by a class with these attributes and methods;
    a class that names ``Target`` as its base inherits what follows from them (:attr:`windows`, :meth:`block_size` and
    the properties on slices).
    """

    name: str  # short, part of file names
    description: str  # one line for reports
    network: torch.nn.Module  # on device, in eval mode; its output as monai_vafa.outputs.as_logits takes it
    device: torch.device
    class_names: list[str]  # a name for each output channel
    activation: str  # "softmax" if the classes exclude each other, "sigmoid" if they may overlap
    # lowest and highest intensity of preprocessed images; None if each image has its own
    intensity_range: tuple[float, float] | None
    # sliding window of the inference, -1 for the side of the image; None if it takes the whole image
    roi_size: tuple[int, ...] | int | None
    sw_batch_size: int  # windows in a batch
    # sides of what the network sees at once, one per axis of the preprocessed image; -1 where nothing tells
    window: tuple[int, ...]
    slice_axis: int | None  # spatial axis that counts the slices, if the network segments a volume slice by slice
    image_key: str  # of the image in cases
    label_key: str  # of the label
    checkpoint: Path | None  # file of the weights, if there is one
    ignore_label: int | None = None  # number of voxels without a label, held out of losses and scores
    # converts a preprocessed image (C, *spatial) back to the intensities of its file; None if unknown or not always so
    to_file_units: Callable[[torch.Tensor], torch.Tensor] | None

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that predictions depend on, as plain JSON data: results with other parameters don't compare."""
        ...

    def cases(
        self, dataset_dir: str | os.PathLike | None = None, *, section: str | None = None
    ) -> list[dict[str, Any]]:
        """
        List cases, with labels where there are any.

        Args:
            dataset_dir: folder of the data; ``None`` for the model's own.
            section: section of the folder's data list.

        Returns:
            a dictionary for each case, which :meth:`preprocess` takes.
        """
        ...

    def preprocess(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """
        Load a case as the network sees it.

        Args:
            item: one of :meth:`cases`.

        Returns:
            MetaTensors: the image ``(C, *spatial)`` and, if the case has a label, the label on the same grid:
            ``(1, *spatial)``, a map of class numbers, for softmax; ``(classes, *spatial)``, 0 and 1, for sigmoid.
        """
        ...

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """
        Segment a whole image, without gradients.

        Args:
            image: preprocessed, ``(1, C, *spatial)``, on any device.

        Returns:
            logits ``(1, classes, *spatial)`` on :attr:`device`.
        """
        ...

    @property
    def spatial_dims(self) -> int:
        """Number of spatial axes of preprocessed images, 2 or 3."""
        return len(self.window)

    @property
    def slicewise(self) -> bool:
        """Whether the network takes 2-D images, be they slices of a volume: VAFA-2D is its frequency attack."""
        return self.spatial_dims == 2 or self.slice_axis is not None

    @property
    def axial(self) -> bool:
        """
        Whether slices run along the last axis, as :class:`monai_vafa.attacks.SliceFrequencyAttack` and the re-scaling
        of VAFA assume; also true for volumes that are not segmented slice by slice.
        """
        return self.slice_axis in (None, 2)

    @property
    def windows(self) -> SlidingWindowAttack:
        """Attacks a whole image in the windows of the inference, side by side."""
        return SlidingWindowAttack(-1 if self.roi_size is None else self.roi_size, self.sw_batch_size)

    def block_size(self, largest: int = 32, *, in_plane: bool = False) -> list[int]:
        """
        Sides of the blocks of a frequency attack that fit the window.

        Args:
            largest: upper limit of a side, in voxels.
            in_plane: return only the two sides within an axial slice, for
                :class:`monai_vafa.attacks.SliceFrequencyAttack`.

        Returns:
            a side for each axis of the image; 1 along :attr:`slice_axis`, and where the window is too thin for
            structural similarity.
        """
        sides = [min(largest, side) if side > 0 else largest for side in self.window]
        sides = [side if side >= _SMALLEST_SIDE else 1 for side in sides]
        if self.slice_axis is not None:
            sides[self.slice_axis] = 1
        return sides[:2] if in_plane else sides
