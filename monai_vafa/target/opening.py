# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Open a segmentation bundle as the target of an attack."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.inferers import SimpleInferer, SliceInferer
from monai.transforms import Compose, LoadImaged, SaveImaged

from monai_vafa.networks import load_checkpoint
from monai_vafa.outputs import check_activation

from .cases import config_items
from .configs import config_files, open_workflow
from .intensities import file_units, value_range
from .lookup import Parts
from .outputs import find_activation, output_classes
from .preprocessing import Preprocessing, flat
from .scripts import scripts_of
from .slices import SliceNetwork
from .source import announce, find_bundle, read_metadata
from .target import Target
from .weights import find_checkpoint
from .windows import image_window, inferer_window

__all__ = ["open_target"]

logger = logging.getLogger(__name__)


def open_target(
    bundle: str | os.PathLike,
    *,
    workflow: str | None = None,
    config_file: str | Sequence[str] | None = None,
    ids: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    checkpoint: str | os.PathLike | None = None,
    activation: str | None = None,
    device: torch.device | str | None = None,
    version: str | None = None,
    source: str | None = None,
    bundle_dir: str | os.PathLike | None = None,
) -> Target:
    """
    Open a segmentation bundle as the target of an attack.

    Its configs are code, and building the parts runs it: open only what you trust. Only the parts of
    :class:`Target` are built; no data set, engine or handler is, and nothing is written.

    Args:
        bundle: a folder, or a name in the model zoo, which is downloaded.
        workflow: "inference", "evaluate" (``evaluate`` over ``train``) or "train"; ``None`` for the first of these
            that is there. The latter two convert labels as the training does: where classes overlap and only they
            can tell what a map of classes means, ``None`` takes them.
        config_file: names of files in ``configs``, or paths, laid over each other; stands in for ``workflow``.
        ids: part -> id in the config, for parts that lie where no other bundle has them: "network", "inferer",
            "preprocessing", "postprocessing", "data", "loss", "checkpoint".
        overrides: id -> value, as on the command line of ``monai.bundle run``: ``{"dataset_dir": "/data"}``.
        checkpoint: weights file; ``None`` for the one that the config names, see :func:`find_checkpoint`. Read with
            ``weights_only=True``.
        activation: "softmax" or "sigmoid", where :func:`find_activation` is wrong; ``None`` for what it finds.
        device: where to put the network; ``None`` for CUDA where there is one.
        version: of a zoo bundle, see :func:`find_bundle`.
        source: where to download a zoo bundle from, see :func:`find_bundle`.
        bundle_dir: where downloaded bundles are kept, see :func:`find_bundle`.

    Raises:
        FileNotFoundError: When bundle, config or weights do not exist.
        ValueError: When the bundle is no segmentation, when a part is not found or can't be built, or when the
            weights are those of another network.
    """
    folder = find_bundle(bundle, version=version, source=source, bundle_dir=bundle_dir)
    name = folder.name
    metadata = read_metadata(folder)
    class_names = output_classes(metadata, name)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    files = config_files(folder, workflow=workflow, config_file=config_file)
    announce(folder)
    settings: dict[str, Any] = {"ids": ids, "overrides": overrides or {}, "checkpoint": checkpoint, "place": place}
    settings["activation"] = None if activation is None else check_activation(activation)
    target = _open(folder, files, metadata, class_names, **settings)
    if workflow is None and config_file is None and not target.preprocessing.takes_class_maps:
        for knowing in ("evaluate", "train"):
            try:
                files = config_files(folder, workflow=knowing)
                other = _open(folder, files, metadata, class_names, **settings)
            except (FileNotFoundError, ValueError) as error:
                logger.debug("bundle %s can't be opened with workflow=%r: %s", name, knowing, error)
                continue
            if other.preprocessing.takes_class_maps:
                other.preprocessing.unlabelled = target.preprocessing
                logger.info(
                    "bundle %s is opened with workflow=%r, which knows how labels become classes", name, knowing
                )
                return other
    return target


def _open(
    folder: Path,
    files: Sequence[Path],
    metadata: Mapping[str, Any],
    class_names: list[str],
    *,
    ids: Mapping[str, str] | None,
    overrides: Mapping[str, Any],
    checkpoint: str | os.PathLike | None,
    activation: str | None,
    place: torch.device,
) -> Target:
    """Open configs of a bundle; see :func:`open_target`."""
    name = folder.name
    with scripts_of(folder):
        opened = open_workflow(folder, files, device=place, overrides=overrides)
        parts = Parts(opened, name=name, ids=ids)
        named, key = find_checkpoint(parts, folder)
        weights = named if checkpoint is None else Path(checkpoint)
        if not weights.is_file():
            raise FileNotFoundError(
                f"bundle {name} has no weights: {str(weights)!r} does not exist. Name the file with checkpoint, or "
                "download it; the bundle's large_files.yml tells where from."
            )
        network = parts.require("network")
        if not isinstance(network, torch.nn.Module):
            raise ValueError(
                f"bundle {name}: id {parts.find('network')!r} is no network but {type(network).__name__}; name the "
                "right one with ids={'network': '...'}."
            )
        transforms = parts.require("preprocessing")
        postprocessing = parts.optional("postprocessing")
        inferer = parts.optional("inferer") or SimpleInferer()
        loss = parts.optional("loss")
    load_checkpoint(network, weights, key=key)
    if isinstance(inferer, SliceInferer):
        network = SliceNetwork(network, inferer.spatial_dim)
    activation = activation or find_activation(
        postprocessing=flat(postprocessing), loss=loss, metadata=metadata, class_names=class_names
    )
    image_key, label_key = _keys(parts, flat(transforms))
    preprocessing = Preprocessing(
        Compose(transforms) if isinstance(transforms, Sequence) else transforms,
        image_key=image_key,
        label_key=label_key,
        channels=class_names if activation == "sigmoid" and len(class_names) > 1 else (),
        maps_tell=class_names[0].lower() == "background" or getattr(loss, "to_onehot_y", False),
    )
    image_keys = [image_key, *preprocessing.file_keys]
    roi_size = inferer_window(inferer)
    _warn_of_own_engine(parts)
    return Target(
        name=name,
        folder=folder,
        network=network.to(place).eval(),
        device=place,
        preprocessing=preprocessing,
        postprocessing=_without_savers(postprocessing),
        inferer=inferer,
        roi_size=roi_size,
        sw_batch_size=getattr(inferer, "sw_batch_size", 1),
        window=image_window(roi_size, metadata),
        slice_axis=inferer.spatial_dim if isinstance(inferer, SliceInferer) else None,
        class_names=class_names,
        activation=activation,
        loss=loss,
        intensity_range=value_range(flat(transforms), image_keys),
        to_file_units=file_units(flat(transforms), image_keys),
        image_key=image_key,
        label_key=label_key,
        checkpoint=weights,
        workflow=opened,
        read_items=partial(
            config_items,
            parts,
            folder=folder,
            files=files,
            overrides=overrides,
            image_key=image_key,
            file_keys=preprocessing.file_keys,
        ),
    )


def _keys(parts: Parts, transforms: Sequence[Callable]) -> tuple[str, str]:
    """Keys of image and label: as the config calls them, else those that MONAI's engines ask for."""
    named = [parts.build(id_, id_) if id_ in parts.parser else None for id_ in ("image_key", "label_key")]
    label_key = named[1] if isinstance(named[1], str) else "label"
    if isinstance(named[0], str):
        return named[0], label_key
    loaded = {str(key) for each in transforms if isinstance(each, LoadImaged) for key in each.keys} - {label_key}
    renamed = len(loaded) == 1 and not any("image" in getattr(each, "keys", ()) for each in transforms)
    return loaded.pop() if renamed else "image", label_key


def _without_savers(postprocessing: Any) -> Compose | None:
    """Leave out what writes files: the working directory is not the bundle's."""
    if postprocessing is None:
        return None
    return Compose([each for each in flat(postprocessing) if not isinstance(each, SaveImaged)])


def _warn_of_own_engine(parts: Parts) -> None:
    """Say that an engine of the bundle's own may put the question to the network in another way."""
    for id_ in ("evaluator", "validate#evaluator"):
        engine = parts.parser.get(id_)
        if not isinstance(engine, Mapping):
            continue
        odd = [key for key in ("prepare_batch", "iteration_update") if engine.get(key) is not None]
        kind = str(engine.get("_target_"))
        if odd or kind.rpartition(".")[2] != "SupervisedEvaluator":
            logger.warning(
                "bundle %s predicts with %s%s, which is not used here: compare what the target says of a clean image "
                "with what the bundle says.",
                parts.name,
                kind,
                f" and its own {', '.join(odd)}" if odd else "",
            )
