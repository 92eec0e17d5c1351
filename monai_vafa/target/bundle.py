# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""A segmentation bundle as the target of an attack."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from monai.inferers import Inferer, SimpleInferer, SliceInferer
from monai.transforms import Compose
from monai.utils import ensure_tuple

from monai_vafa.attacks.base import plain_data
from monai_vafa.data.paths import check_path, file_sha256
from monai_vafa.networks import load_checkpoint
from monai_vafa.networks.modes import eval_mode
from monai_vafa.outputs import as_logits, check_activation

from .cases import cases_of_config, cases_of_folder
from .config import Parts, check_overrides, config_files, find_checkpoint, open_parts
from .facts import description_of, find_activation, keys_of, output_classes, without_savers
from .preprocessing import Preprocessing
from .probabilities import LogitNetwork, are_probabilities, to_logits
from .source import announce, find_bundle, fingerprint, read_metadata
from .target import Target
from .windows import SliceNetwork, image_window, inferer_window

logger = logging.getLogger(__name__)

# What an inferer is told that changes predictions.
_OF_INFERER = ("roi_size", "overlap", "mode", "sigma_scale", "padding_mode", "cval", "spatial_dim")


def open_target(
    bundle: str | os.PathLike = "unetr_inference",
    *,
    workflow: str | None = None,
    config_file: str | Sequence[str] | None = None,
    ids: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    checkpoint: str | os.PathLike | Literal[False] | None = None,
    activation: str | None = None,
    ignore_label: int | None = None,
    device: torch.device | str | None = None,
    version: str | None = None,
    source: str | None = None,
    bundle_dir: str | os.PathLike | None = None,
) -> BundleTarget:
    """
    Open a segmentation bundle as the target of an attack.

    The configs of a bundle are code, and building its parts runs them: open only what you trust. Only the parts of
    :class:`BundleTarget` are built, no data set, engine or handler, and nothing is written.

    Args:
        bundle: a folder, the name of a bundle that ships with this package, or the name of one in MONAI's model zoo,
            which is downloaded; see :func:`find_bundle`.
        workflow: "inference", "evaluate" (``evaluate`` over ``train``) or "train"; ``None`` for the first of these
            that exists. The latter two convert labels as the training does: if classes overlap and only they can tell
            what a map of class numbers means, ``None`` takes them.
        config_file: names of files in ``configs``, or paths, each laid over those before it; replaces ``workflow``.
        ids: part -> id in the config, for parts that no other bundle has there: "network", "inferer", "preprocessing",
            "postprocessing", "data", "dataset_dir", "class_names", "loss", "checkpoint". The names of the classes come
            from ``metadata.json`` unless the config has some.
        overrides: id -> value, as on the command line of ``monai.bundle run``: ``{"dataset_dir": "/data"}``.
        checkpoint: weights file, read with ``weights_only=True``; ``None`` for the one that the config names, see
            :func:`monai_vafa.target.config.find_checkpoint`; ``False`` for the network as the config makes it.
        activation: "softmax" or "sigmoid" if :func:`monai_vafa.target.facts.find_activation` is wrong.
        ignore_label: number of voxels without a label, such as 255 or -1; ``None`` for none.
        device: where to put the network; ``None`` for CUDA if available.
        version: version of a zoo bundle, see :func:`find_bundle`.
        source: where to download a zoo bundle from, see :func:`find_bundle`.
        bundle_dir: folder of downloaded bundles, see :func:`find_bundle`.

    Raises:
        FileNotFoundError: If bundle, config or weights do not exist.
        ValueError: If the bundle does not segment, if a part is not found or can't be built, or if the weights belong
            to another network.
    """
    named = {"workflow": workflow, "checkpoint": checkpoint or None, "activation": activation}
    named |= {f"config_file[{i}]": each for i, each in enumerate(ensure_tuple(config_file or ()))}
    for name, value in named.items():
        if value is not None:
            check_path(name, value)
    folder = find_bundle(bundle, version=version, source=source, bundle_dir=bundle_dir)
    metadata = read_metadata(folder)
    announce(folder)
    classes_of_metadata = output_classes(metadata, folder.name)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    files = config_files(folder, workflow=workflow, config_file=config_file)
    chosen = workflow is not None or config_file is not None
    others = [] if chosen else [path for path in files[0].parent.glob("*.*") if path.stem in ("train", "evaluate")]
    check_overrides([*others, *files], overrides or {}, name=folder.name)
    read = partial(
        _read,
        folder,
        metadata=metadata,
        class_names=classes_of_metadata,
        device=place,
        overrides=dict(overrides or {}),
        ids=ids,
        checkpoint=checkpoint,
        activation=None if activation is None else check_activation(activation),
    )
    found = read(files)
    if workflow is None and config_file is None and not found.preprocessing.takes_class_maps:
        found = _labels_converted(found, read) or found
    return _build(found, metadata, place, dict(overrides or {}), ignore_label)


@dataclass(eq=False)
class BundleTarget(Target):
    """
    A segmentation bundle, opened by :func:`open_target`.

    Beside what :class:`Target` lists, it keeps the parts of the bundle.

    Args:
        name: name of the folder, which is that of the bundle in the zoo.
        description: name, version and description of the bundle.
        folder: absolute path of the bundle.
        network: see :class:`Target`, as are all others that are not listed here.
        preprocessing: files of a case -> image and label, see :meth:`preprocess`.
        postprocessing: the bundle's own, of a dictionary with the preprocessed image and the logits as ``"pred"``,
            without transforms that write files; ``None`` if there is none.
        inferer: how the network segments a whole image.
        loss: loss of the training, if the config has one.
        parts: builds further parts of the config.
        files: config files that were read.
        overrides: id -> value, with which they were read.
    """

    name: str
    description: str
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
    checkpoint: Path | None
    parts: Parts
    files: list[Path]
    overrides: dict[str, Any]
    ignore_label: int | None = None

    @cached_property
    def channels(self) -> int | None:
        """Number of channels of the image as the metadata tell it, ``None`` where they don't."""
        inputs = read_metadata(self.folder)["network_data_format"].get("inputs") or {}
        channels = (inputs.get("image") or {}).get("num_channels")
        return channels if isinstance(channels, int) else None

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """See :attr:`Target.parameters`. No folder is part of it, so that results and data can be moved."""
        told = {key: _plain(getattr(self.inferer, key)) for key in _OF_INFERER if hasattr(self.inferer, key)}
        return {
            "bundle": self.name,
            "bundle_sha256": fingerprint(self.folder, self.files),
            "configs": [path.name for path in self.files],
            "ids": self.parts.ids,
            "overrides": _plain({id_: value for id_, value in self.overrides.items() if id_ != "dataset_dir"}),
            "checkpoint_sha256": None if self.checkpoint is None else file_sha256(self.checkpoint),
            "activation": self.activation,
            "ignore_label": self.ignore_label,
            "inferer": {"class": type(self.inferer).__name__, **told},
        }

    def preprocess(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """See :meth:`Target.preprocess`."""
        with self.parts.modules:
            made = self.preprocessing(item)
        self._check_shape(made[self.image_key], item.get(self.image_key))
        return made

    def _check_shape(self, image: torch.Tensor, path: Any) -> None:
        """Refuse images of other dimensions or channels than the network takes, by the name of the file."""
        first = next((each.shape[1] for each in self.network.parameters() if each.ndim >= 4), None)
        other = self.channels is not None and len(image) not in (self.channels, first)
        if image.ndim != self.spatial_dims + 1 or 0 in image.shape or other:
            raise ValueError(
                f"image {path!r} becomes {tuple(image.shape)} by the preprocessing of {self.name}, but its network "
                f"takes {self.channels or 'some'} channels and {self.spatial_dims} axes: convert the file, or name "
                "another preprocessing with ids={'preprocessing': '...'}."
            )

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

        Args:
            dataset_dir: a folder. The first of these that it holds: images with labels in a layout that
                :func:`monai_vafa.data.folder_cases` knows, the files that the config looks for, images without labels.
                ``None`` for the cases that the config names, with the labels that the config's ``dataset_dir`` has for
                them.
            section: section of the folder's ``dataset.json``, see :func:`monai_vafa.data.folder_cases`.

        Returns:
            a dictionary for each case, for :meth:`preprocess`.

        Raises:
            FileNotFoundError: If the folder does not exist.
            TypeError: If the folder is a number, as command lines read names such as 20230101.
            ValueError: If there are no cases; says where they can come from.
        """
        for name, value in (("dataset_dir", dataset_dir), ("section", section)):
            if value is not None:
                check_path(name, value)
        cases = self._cases(dataset_dir, section)
        for item in cases:
            self.preprocessing.check(item)
        return cases

    def _cases(self, dataset_dir: str | os.PathLike | None, section: str | None) -> list[dict[str, Any]]:
        keys = {"image_key": self.image_key, "label_key": self.label_key}
        if dataset_dir is None and section is not None:
            dataset_dir = self.parts.optional("dataset_dir")
            if dataset_dir is None:
                raise ValueError(f"section={section!r} is a section of a dataset.json: give its folder, dataset_dir.")
        if dataset_dir is None:
            return cases_of_config(self.parts, **keys, file_keys=self.preprocessing.file_keys)

        def config_cases(folder: str) -> list[dict[str, Any]]:
            overrides = {**self.overrides, "dataset_dir": folder}
            device = torch.device("cpu")
            parts = open_parts(self.folder, self.files, device=device, overrides=overrides, ids=self.parts.ids)
            return cases_of_config(parts, **keys, file_keys=self.preprocessing.file_keys)

        return cases_of_folder(
            dataset_dir,
            section=section,
            channels=self.channels,
            **keys,
            name=self.name,
            config_cases=config_cases,
        )


@dataclass(frozen=True)
class _Reading:
    """Configs of a bundle and their small parts, which tell whether the configs are the right ones."""

    files: list[Path]
    parts: Parts
    class_names: list[str]
    checkpoint: Path | None
    key: str | None
    loss: Any
    postprocessing: Compose | None
    activation: str
    preprocessing: Preprocessing


def _read(
    folder: Path,
    files: list[Path],
    *,
    metadata: Mapping[str, Any],
    class_names: list[str],
    device: torch.device,
    overrides: Mapping[str, Any],
    ids: Mapping[str, str] | None,
    checkpoint: str | os.PathLike | Literal[False] | None,
    activation: str | None,
) -> _Reading:
    """Read configs, find the weights and build everything but network and inferer."""
    parts = open_parts(folder, files, device=device, overrides=overrides, ids=ids)
    weights, key = (None, None) if checkpoint is False else find_checkpoint(parts)
    if checkpoint:
        weights = Path(checkpoint)
    if weights is not None and not weights.is_file():
        raise FileNotFoundError(
            f"bundle {parts.name} has no weights: {str(weights)!r} does not exist. Name the file with checkpoint, or "
            "download it from where the bundle's large_files.yml says."
        )
    class_names = [str(name) for name in parts.optional("class_names") or class_names]
    transforms, loss = parts.require("preprocessing"), parts.optional("loss")
    postprocessing = parts.optional("postprocessing")
    image_key, label_key = keys_of(parts, transforms)
    activation = activation or find_activation(
        postprocessing=postprocessing, loss=loss, metadata=metadata, class_names=class_names
    )
    postprocessing = without_savers(postprocessing)
    preprocessing = Preprocessing(
        Compose(transforms) if isinstance(transforms, Sequence) else transforms,
        image_key=image_key,
        label_key=label_key,
        channels=class_names if activation == "sigmoid" and len(class_names) > 1 else (),
        maps_tell=class_names[0].lower() == "background" or getattr(loss, "to_onehot_y", False),
    )
    return _Reading(files, parts, class_names, weights, key, loss, postprocessing, activation, preprocessing)


def _labels_converted(first: _Reading, read: Callable[[list[Path]], _Reading]) -> _Reading | None:
    """Configs of the bundle that convert labels to classes; the first ones serve cases without labels."""
    folder = first.parts.folder
    for workflow in ("evaluate", "train"):
        try:
            other = read(config_files(folder, workflow=workflow))
        except (FileNotFoundError, ValueError) as error:
            logger.debug("bundle %s can't be opened with workflow=%r: %s", folder.name, workflow, error)
            continue
        if other.preprocessing.takes_class_maps:
            other.preprocessing.unlabelled = first.preprocessing
            logger.info("bundle %s is opened with workflow=%r, which converts labels", folder.name, workflow)
            return other
    return None


def _build(
    found: _Reading,
    metadata: Mapping[str, Any],
    device: torch.device,
    overrides: dict[str, Any],
    ignore_label: int | None,
) -> BundleTarget:
    """Build network and inferer, load the weights, and put everything together."""
    parts, preprocessing = found.parts, found.preprocessing
    network = parts.require("network")
    if not isinstance(network, torch.nn.Module):
        raise ValueError(
            f"bundle {parts.name}: id {parts.find('network')!r} is not a network but {type(network).__name__}; "
            "name the right one with ids={'network': '...'}."
        )
    inferer = parts.optional("inferer") or SimpleInferer()
    if found.checkpoint is not None:
        load_checkpoint(network, found.checkpoint, key=found.key)
    slice_axis = inferer.spatial_dim if isinstance(inferer, SliceInferer) else None
    if slice_axis is not None:
        network = SliceNetwork(network, slice_axis)
    roi_size = inferer_window(inferer)
    _warn_of_own_engine(parts)
    return BundleTarget(
        name=parts.name,
        description=description_of(parts.name, metadata),
        folder=parts.folder,
        network=network.to(device).eval(),
        device=device,
        preprocessing=preprocessing,
        postprocessing=found.postprocessing,
        inferer=inferer,
        roi_size=roi_size,
        sw_batch_size=getattr(inferer, "sw_batch_size", 1),
        window=image_window(roi_size, metadata),
        slice_axis=slice_axis,
        class_names=found.class_names,
        activation=found.activation,
        loss=found.loss,
        intensity_range=preprocessing.intensity_range,
        to_file_units=preprocessing.to_file_units,
        image_key=preprocessing.image_key,
        label_key=preprocessing.label_key,
        checkpoint=found.checkpoint,
        parts=parts,
        files=found.files,
        overrides=overrides,
        ignore_label=ignore_label,
    )


def _warn_of_own_engine(parts: Parts) -> None:
    """Warn if the bundle's own engine may ask the network in another way."""
    for id_ in ("evaluator", "validate#evaluator"):
        engine = parts.parser.get(id_)
        if not isinstance(engine, Mapping):
            continue
        odd = [key for key in ("prepare_batch", "iteration_update") if engine.get(key) is not None]
        kind = str(engine.get("_target_"))
        if odd or kind.rpartition(".")[2] != "SupervisedEvaluator":
            logger.warning(
                "bundle %s predicts with %s%s, which is not used here: compare the predictions of the target on clean "
                "images with those of the bundle.",
                parts.name,
                kind,
                f" and its own {', '.join(odd)}" if odd else "",
            )


def _plain(value: Any) -> Any:
    """A value as JSON data; absolute paths become names."""
    value = plain_data(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value
