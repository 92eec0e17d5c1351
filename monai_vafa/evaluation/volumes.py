# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""One case at a time: get its volumes, ask the network, compare with the reference."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.inferers import Inferer
from monai.metrics import CumulativeIterationMetric
from monai.transforms import ResampleToMatch
from monai.utils import convert_to_tensor

from monai_vafa.attacks.inputs import check_image_values
from monai_vafa.outputs import as_logits, check_class_channels, predicted_labels

from .scoring import class_means, segmentation_scores

__all__ = ["Case", "VolumeScorer", "oriented_like"]

# NIfTI headers hold affines in float32.
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class Case:
    """
    Volumes of a case as the network sees them.

    Args:
        image: ``(1, C, *spatial)``, finite.
        label: softmax: class map ``(1, 1, *spatial)``; sigmoid: 0 and 1, ``(1, classes, *spatial)``.
        affine: 4 x 4, voxel to world (RAS).
    """

    image: torch.Tensor
    label: torch.Tensor
    affine: np.ndarray


class VolumeScorer:
    """
    Asks a network about whole volumes and scores what it says.

    Args:
        network: on ``device``, weights loaded.
        inferer: how the network predicts a whole volume.
        segmentation_metrics: see :func:`segmentation_scores`.
        class_names: names of the classes, for softmax background first.
        activation: ``"softmax"`` or ``"sigmoid"``, see :class:`monai_vafa.attacks.Attack`.
        device: where to compute.
        image_key: key of the image.
        label_key: key of the label map.
    """

    def __init__(
        self,
        *,
        network: torch.nn.Module,
        inferer: Inferer,
        segmentation_metrics: Mapping[str, CumulativeIterationMetric],
        class_names: Sequence[str],
        activation: str,
        device: torch.device,
        image_key: str,
        label_key: str,
    ) -> None:
        self.network = network
        self.inferer = inferer
        self.segmentation_metrics = dict(segmentation_metrics)
        self.class_names = list(class_names)
        self.activation = activation
        self.device = device
        self.image_key = image_key
        self.label_key = label_key

    def load(self, item: Mapping[str, Any], align: bool = False) -> Case:
        """
        Take the volumes from a preprocessed item.

        Args:
            item: image and label as channel-first MetaTensors ``(C, *spatial)``; without a label, what the network
                says of the image stands in.
            align: bring a label on another grid to the image's, by nearest neighbour.

        Raises:
            ValueError: When the label does not fit the image or, for sigmoid, is not 0 and 1 in a channel per class,
                or the image holds NaN or infinite voxels.
        """
        image, label = item[self.image_key], item.get(self.label_key)
        check_image_values(image)
        image_batch = image.as_tensor()[None].to(self.device)
        affine = to_affine_nd(3, image.affine.cpu().numpy())
        if label is None:
            return Case(image_batch, self.predict(image_batch), affine)
        if align and not _same_grid(image, label):
            label = ResampleToMatch(mode="nearest", padding_mode="zeros")(label, img_dst=image)
        if label.shape[1:] != image.shape[1:]:
            raise ValueError(f"label of shape {tuple(label.shape)} does not fit an image of {tuple(image.shape)}.")
        label_batch = convert_to_tensor(label, track_meta=False)[None].to(self.device)
        if self.activation == "sigmoid":
            check_class_channels(label_batch, len(self.class_names))
        return Case(image_batch, label_batch, affine)

    def predict(self, image: torch.Tensor) -> torch.Tensor:
        """
        What the network says of a volume.

        Args:
            image: ``(1, C, *spatial)``.

        Returns:
            softmax: class map ``(1, 1, *spatial)``; sigmoid: 0 and 1, ``(1, classes, *spatial)``.

        Raises:
            ValueError: When the network knows another number of classes than ``class_names``.
        """
        self.network.eval()
        with torch.no_grad():
            logits = as_logits(self.inferer(image, self.network))
        if logits.shape[1] != len(self.class_names):
            raise ValueError(
                f"the network knows {logits.shape[1]} classes, but class_names are {len(self.class_names)}: "
                f"{', '.join(self.class_names)}."
            )
        return predicted_labels(logits, self.activation)

    def score(self, prediction: torch.Tensor, label: torch.Tensor) -> dict[str, list[float]]:
        """
        Value of each metric for each class, see :func:`segmentation_scores`.

        Args:
            prediction: what :meth:`predict` gives.
            label: same shape.
        """
        return segmentation_scores(self.segmentation_metrics, prediction, label, len(self.class_names), self.activation)

    def means(self, per_class: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """
        Mean of each metric over the classes, see :func:`class_means`.

        Args:
            per_class: what :meth:`score` gives.
        """
        return class_means(per_class, self.activation)


@contextmanager
def oriented_like(image: str | os.PathLike, like: str | os.PathLike) -> Iterator[str | list[str]]:
    """
    Give a file whose axes run like those of another one, as preprocessing without an orientation step expects.

    Args:
        image: NIfTI file.
        like: NIfTI file.

    Yields:
        ``image`` itself, or a temporary copy with its axes flipped and swapped; no voxel is interpolated. A 2-D image
        of several channels comes as a file for each: NIfTI has no other place for them that can't be taken for depth.
    """
    volume: Any = nib.load(image)
    other: Any = nib.load(like)
    axes = [nib.orientations.io_orientation(v.affine) for v in (volume, other)]
    turn = nib.orientations.ornt_transform(*axes)
    several_planes = other.ndim == 2 and volume.ndim > 2
    if (turn == [[0, 1], [1, 1], [2, 1]]).all() and not several_planes:
        yield os.fspath(image)
        return
    with TemporaryDirectory() as folder:
        turned = Path(folder) / Path(image).name
        if other.ndim > 2:
            nib.save(volume.as_reoriented(turn), turned)
            yield os.fspath(turned)
            return
        voxels = np.asarray(volume.dataobj)
        # only what has three axes can be turned
        whole = nib.Nifti1Image(voxels.reshape(*voxels.shape[:2], 1, -1), volume.affine).as_reoriented(turn)
        paths = []
        for i, plane in enumerate(np.moveaxis(np.asarray(whole.dataobj)[:, :, 0], -1, 0)):
            paths.append(os.fspath(turned.with_name(f"{i}_{turned.name}")))
            nib.save(nib.Nifti1Image(plane, whole.affine), paths[-1])
        yield paths if several_planes else paths[0]


def _same_grid(image: MetaTensor, label: MetaTensor) -> bool:
    return image.shape[1:] == label.shape[1:] and torch.allclose(
        torch.as_tensor(image.affine), torch.as_tensor(label.affine), atol=_SAME_PLACE
    )
