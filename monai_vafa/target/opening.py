# SPDX-License-Identifier: Apache-2.0
"""Open a bundle: choose its configs, find their parts, build network and inferer."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer, SliceInferer
from monai.transforms import Compose, SaveImaged
from monai.utils import ensure_tuple

from monai_vafa.data.paths import check_path
from monai_vafa.networks import load_checkpoint
from monai_vafa.outputs import check_activation

from .bundle import BundleTarget
from .config import Parts, check_overrides, config_files, configs_in, find_checkpoint
from .facts import find_activation, find_ignore_label, flat, output_classes
from .inference import SliceNetwork
from .preprocessing import Preprocessing
from .scripts import BundleModules
from .source import announce, find_bundle, read_metadata

logger = logging.getLogger(__name__)


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
        ignore_label: number of voxels without a label, such as 255 or -1; ``None`` for that of a loss or metric in the
            config, else that of nnU-Net's ``dataset.json`` next to the labels, else none.
        device: where to put the network; ``None`` for CUDA if available.
        version: version of a zoo bundle; ``None`` for the one in ``bundle_dir``, or the latest if there is none.
        source: where ``monai.bundle download`` fetches from: "monaihosting", "github", "ngc", "huggingface_hub";
            ``None`` for MONAI's default.
        bundle_dir: folder of downloaded bundles; ``None`` for MONAI's, ``bundle`` in torch's hub folder.

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
    if activation is not None:
        check_activation(activation)
    folder = find_bundle(bundle, version=version, source=source, bundle_dir=bundle_dir)
    announce(folder)
    # Before anything else is read of it: what does not segment is refused as such.
    try:
        output_classes(read_metadata(folder), folder.name)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"bundle {folder.name}: metadata.json is not as MONAI has it: {error}.") from error
    files = config_files(folder, workflow=workflow, config_file=config_file)
    chosen = workflow is not None or config_file is not None
    others = [] if chosen else [path for stem, path in configs_in(folder).items() if stem in ("train", "evaluate")]
    overrides = dict(overrides or {})
    check_overrides([*others, *files], overrides, name=folder.name)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    target = _open(
        Parts(folder, files, where, overrides, dict(ids or {}), BundleModules(folder)), checkpoint, activation
    )
    if not chosen and not target.preprocessing.takes_class_maps:
        target = _that_converts_labels(target, checkpoint, activation) or target
    _warn_of_own_engine(target.parts)
    target.ignore_label = _void_of_configs(target) if ignore_label is None else ignore_label
    return target


def _open(parts: Parts, checkpoint: str | os.PathLike | Literal[False] | None, activation: str | None) -> BundleTarget:
    """Find the weights and build all parts of a target."""
    parts.parser.parse()
    weights, key = (None, None) if checkpoint is False else find_checkpoint(parts)
    if checkpoint:
        weights = Path(checkpoint)
    if weights is not None and not weights.is_file():
        raise FileNotFoundError(
            f"bundle {parts.name} has no weights: {str(weights)!r} does not exist. Name the file with checkpoint, or "
            "download it from where the bundle's large_files.yml says."
        )
    metadata = read_metadata(parts.folder)
    class_names = [str(name) for name in parts.optional("class_names") or output_classes(metadata, parts.name)]
    transforms, loss = parts.require("preprocessing"), parts.optional("loss")
    postprocessing = parts.optional("postprocessing")
    named = [parts.build(id_, id_) if id_ in parts.parser else None for id_ in ("image_key", "label_key")]
    image_key, label_key = (key if isinstance(key, str) else None for key in named)
    activation = activation or find_activation(postprocessing, loss, metadata, class_names)
    preprocessing = Preprocessing(
        Compose(transforms) if isinstance(transforms, Sequence) else transforms,
        image_key=image_key,
        label_key=label_key or "label",
        class_names=class_names,
        overlap=activation == "sigmoid",
        maps_tell=class_names[0].lower() == "background" or getattr(loss, "to_onehot_y", False),
    )
    if postprocessing is not None:
        # The working directory is not that of the bundle, so nothing is to be written.
        postprocessing = Compose([each for each in flat(postprocessing) if not isinstance(each, SaveImaged)])
    network, inferer = parts.require("network"), parts.optional("inferer") or SimpleInferer()
    if not isinstance(network, torch.nn.Module):
        raise ValueError(
            f"bundle {parts.name}: id {parts.find('network')!r} is not a network but {type(network).__name__}; "
            "name the right one with ids={'network': '...'}."
        )
    if weights is not None:
        load_checkpoint(network, weights, key=key)
    if isinstance(inferer, SliceInferer):
        network = SliceNetwork(network, inferer.spatial_dim)
    return BundleTarget(
        parts,
        network.to(parts.device).eval(),
        inferer,
        preprocessing,
        postprocessing,
        loss,
        class_names,
        activation,
        intensity_range=preprocessing.intensity_range,
        checkpoint=weights,
    )


def _that_converts_labels(
    first: BundleTarget, checkpoint: str | os.PathLike | Literal[False] | None, activation: str | None
) -> BundleTarget | None:
    """The bundle by configs that convert labels to classes; those of ``first`` serve cases without labels."""
    for workflow in ("evaluate", "train"):
        try:
            files = config_files(first.folder, workflow=workflow)
            other = _open(replace(first.parts, files=files), checkpoint, activation)
        except (FileNotFoundError, ValueError) as error:
            logger.debug("bundle %s can't be opened with workflow=%r: %s", first.name, workflow, error)
            continue
        if other.preprocessing.takes_class_maps:
            other.preprocessing.unlabelled = first.preprocessing
            logger.info("bundle %s is opened with workflow=%r, which converts labels", first.name, workflow)
            return other
    return None


def _void_of_configs(target: BundleTarget) -> int | None:
    """Number of voxels without a label as the config names it, else that of the training."""
    configs = [target.parts.parser.get()]
    with suppress(ValueError):  # there need not be a training
        train = config_files(target.folder, workflow="train")
        configs.append(ConfigParser.load_config_files([str(path) for path in train]))
    for config in configs:
        told = find_ignore_label(config, len(target.class_names))
        if told is not None:
            logger.info("voxels of labels with %d have no label, as the config says; see ignore_label", told)
            return told
    return None


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
