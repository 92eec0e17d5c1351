# SPDX-License-Identifier: Apache-2.0
"""A segmentation bundle as the target of an attack."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer, SliceInferer
from monai.transforms import Compose

from monai_vafa.attacks.base import plain_data
from monai_vafa.data.folder import ignore_label_of, is_path
from monai_vafa.data.paths import check_path, file_sha256
from monai_vafa.networks.modes import eval_mode
from monai_vafa.outputs import as_logits

from .cases import cases_of_config, cases_of_folder
from .config import Parts, map_texts
from .inference import LogitNetwork, are_probabilities, image_format, image_window, inferer_window, to_logits
from .preprocessing import Preprocessing
from .source import fingerprint, read_metadata
from .target import Target

logger = logging.getLogger(__name__)

# What an inferer is told that changes predictions.
_OF_INFERER = ("roi_size", "overlap", "mode", "sigma_scale", "padding_mode", "cval", "spatial_dim")


@dataclass(eq=False)
class BundleTarget(Target):
    """
    A segmentation bundle, opened by :func:`open_target`, with all that :class:`Target` lists.

    Args:
        parts: how the configs were read (folder of the bundle, files, device, overrides and ids); builds further parts.
        network: see :class:`Target`, as are all others that are not listed here.
        inferer: how the network segments a whole image.
        preprocessing: files of a case -> image and label, see :meth:`preprocess`.
        postprocessing: the bundle's own, of a dictionary with the preprocessed image and the logits as ``"pred"``,
            without transforms that write files; ``None`` if there is none.
        loss: loss of the training, if the config has one.
    """

    parts: Parts
    network: torch.nn.Module
    inferer: Inferer
    preprocessing: Preprocessing
    postprocessing: Compose | None
    loss: Callable | None
    class_names: list[str]
    activation: str
    intensity_range: tuple[float, float] | None
    checkpoint: Path | None
    ignore_label: int | None = None

    def __post_init__(self) -> None:
        self.name, self.folder = self.parts.name, self.parts.folder
        self.device = self.parts.device or torch.device("cpu")
        metadata = read_metadata(self.folder)
        told = metadata.get("description") or metadata.get("name") or metadata.get("task")
        self.description = f"{' '.join(str(part) for part in (self.name, metadata.get('version')) if part)}: {told}"
        self.slice_axis = self.inferer.spatial_dim if isinstance(self.inferer, SliceInferer) else None
        self.roi_size = inferer_window(self.inferer)
        self.sw_batch_size = getattr(self.inferer, "sw_batch_size", 1)
        self.window = image_window(self.roi_size, metadata)
        self.to_file_units = self.preprocessing.to_file_units
        self.image_key, self.label_key = self.preprocessing.image_key, self.preprocessing.label_key
        channels = image_format(metadata).get("num_channels")
        self.channels = channels if isinstance(channels, int) else None

    @property
    def parameters(self) -> dict[str, Any]:
        """See :attr:`Target.parameters`. No folder is part of it, so that results and data can be moved."""
        return {**self._parameters, "ignore_label": self.ignore_label}

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        told = {key: _plain(getattr(self.inferer, key)) for key in _OF_INFERER if hasattr(self.inferer, key)}
        overrides = {id_: value for id_, value in self.parts.overrides.items() if id_ != "dataset_dir"}
        return {
            "bundle": self.name,
            "bundle_sha256": fingerprint(self.folder, self.parts.files),
            "configs": [path.name for path in self.parts.files],
            "ids": self.parts.ids,
            "overrides": _plain(overrides),
            "checkpoint_sha256": None if self.checkpoint is None else file_sha256(self.checkpoint),
            "activation": self.activation,
            "inferer": {"class": type(self.inferer).__name__, **told},
        }

    def preprocess(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """See :meth:`Target.preprocess`."""
        with self.parts.modules:
            made = self.preprocessing(item, ignore_label=self.ignore_label)
        image = made[self.image_key]
        first = next((each.shape[1] for each in self.network.parameters() if each.ndim >= 4), None)
        other = self.channels is not None and len(image) not in (self.channels, first)
        if image.ndim != self.spatial_dims + 1 or 0 in image.shape or other:
            raise ValueError(
                f"image {item.get(self.image_key)!r} becomes {tuple(image.shape)} by the preprocessing of {self.name}, "
                f"but its network takes {self.channels or 'some'} channels and {self.spatial_dims} axes: convert the "
                "file, or name another preprocessing with ids={'preprocessing': '...'}."
            )
        return made

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """
        See :meth:`Target.logits`.

        If the first prediction shows that the network gives probabilities, :attr:`network` is replaced by one that
        gives their logits.

        Raises:
            ValueError: If the number of output channels is not that of the class names.
        """
        # Windows are put together as the bundle does it, be they logits or probabilities.
        network = self.network.network if isinstance(self.network, LogitNetwork) else self.network
        with self.parts.modules, torch.no_grad(), eval_mode(network):
            logits = as_logits(self.inferer(image.to(self.device), network))
        if logits.shape[1] != len(self.class_names):
            raise ValueError(
                f"the network has {logits.shape[1]} output channels, but {self.name} names {len(self.class_names)} "
                f"classes ({', '.join(self.class_names)}): name the right ones with overrides={{'class_names': [...]}}."
            )
        if network is self.network and are_probabilities(logits):
            logger.warning(
                "the network of %s gives probabilities, not logits: they are converted back, and where they are "
                "exactly 0 or 1 an attack has no gradient to follow",
                self.name,
            )
            self.network = LogitNetwork(network)
        return to_logits(logits) if network is not self.network else logits

    def cases(
        self, dataset_dir: str | os.PathLike | None = None, *, section: str | None = None
    ) -> list[dict[str, Any]]:
        """
        List cases, with labels where there are any.

        If a ``dataset.json`` of nnU-Net next to them names a label "ignore", it becomes :attr:`ignore_label`, unless
        there is one already.

        Args:
            dataset_dir: a folder. The first of these that it holds: the files of the config's own ``datalist``, images
                with labels in a layout that :func:`monai_vafa.data.folder_cases` knows, the files that the config
                looks for, images without labels.
                ``None`` for the cases that the config names, with the labels that the config's ``dataset_dir`` has for
                them.
            section: section of that ``datalist`` or of the folder's ``dataset.json``, see
                :func:`monai_vafa.data.folder_cases`.

        Raises:
            FileNotFoundError: If the folder does not exist.
            TypeError: If the folder is a number, as command lines read names such as 20230101.
            ValueError: If there are no cases; says where they can come from.
        """
        for name, value in (("dataset_dir", dataset_dir), ("section", section)):
            if value is not None:
                check_path(name, value)
        if dataset_dir is None and section is not None:
            dataset_dir = self.parts.optional("dataset_dir")
            if dataset_dir is None:
                raise ValueError(f"section={section!r} is a section of a dataset.json: give its folder, dataset_dir.")
        if dataset_dir is None:
            cases = cases_of_config(self.parts, self.preprocessing)
        else:
            cases = cases_of_folder(dataset_dir, self.parts, self.preprocessing, section, self.channels)
        for item in cases:
            self.preprocessing.check(item)
        label = next((item[self.label_key] for item in cases if self.label_key in item), None)
        if self.ignore_label is None and is_path(label):
            self.ignore_label = ignore_label_of(label)
            if self.ignore_label is not None:
                logger.info("voxels of labels with %d have no label, as dataset.json says", self.ignore_label)
        return cases


def _plain(value: Any) -> Any:
    """A value as JSON data; absolute paths become names."""
    return map_texts(plain_data(value), lambda text: Path(text).name if os.path.isabs(text) else text)
