# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What a bundle's training has to be told before it is hardened."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer, SliceInferer

from .configs import config_files, open_workflow
from .lookup import Parts
from .outputs import find_activation, output_classes
from .preprocessing import flat
from .scripts import scripts_of
from .source import read_metadata
from .weights import find_checkpoint
from .windows import fitting_sides, image_window, inferer_window

__all__ = ["Training", "read_training"]

logger = logging.getLogger(__name__)

# As overlay.json has it, where the inferer has a window.
_BLOCK_SIZE = 32
_SAVERS = {"CheckpointSaver": "save_dir", "DiskSaver": "dirname", "ModelCheckpoint": "dirname"}
_ENGINES = {"vaft_trainer": "what is trained", "vaft_evaluator": "by which the best weights are chosen"}


@dataclass(frozen=True)
class Training:
    """
    A training that can be hardened.

    Args:
        config: the bundle's train config.
        settings: id -> value for the overlay, found in the bundle.
    """

    config: Path
    settings: dict[str, Any]


def read_training(folder: Path, overlay: Path, *, overrides: Mapping[str, Any]) -> Training:
    """
    Look at the training of a bundle before it runs. Only small parts are built, and nothing is written.

    Args:
        folder: of the bundle.
        overlay: config that is laid over the training.
        overrides: id -> value, as the training will have them.

    Raises:
        FileNotFoundError: When there are no weights to start from.
        ValueError: When the bundle is no segmentation, has no train config, no validation, or weights would be written
            into its folder.
    """
    name = folder.name
    metadata = read_metadata(folder)
    class_names = output_classes(metadata, name)
    try:
        [config] = config_files(folder, workflow="train")
    except ValueError as error:
        configs = ", ".join(sorted(path.name for path in (folder / "configs").iterdir()))
        raise ValueError(
            f"bundle {name} has no train config, so nothing tells how it is trained; it has {configs}."
        ) from error
    workflow = open_workflow(folder, [config, overlay], device=torch.device("cpu"), overrides=overrides)
    parts = Parts(workflow, name=name)
    engines = {id_: str(parts.parser.get(id_)).lstrip("@").replace("::", "#") for id_ in _ENGINES}
    for id_, use in _ENGINES.items():
        if not isinstance(parts.parser.get(engines[id_]), Mapping):
            raise ValueError(
                f"bundle {name}: its train config has no {engines[id_]}, {use}. Name the right id with {id_}='@...'."
            )
    if "dataset_dir" in overrides and "dataset_dir" not in ConfigParser.load_config_file(str(config)):
        raise ValueError(f"bundle {name}: its train config has no dataset_dir; set the ids that it names its data by.")
    with scripts_of(folder):
        _refuse_writing_into(folder, parts)
        evaluator = engines["vaft_evaluator"]
        _tell_key_metric(parts, evaluator)
        inferer = _optional(parts, f"{evaluator}#inferer") or SimpleInferer()
        if isinstance(inferer, SliceInferer):
            raise ValueError(
                f"bundle {name} validates volumes slice by slice (SliceInferer), and no attack works on the batches of "
                "such a validation: name another one with vaft_evaluator='@...'."
            )
        postprocessing = _optional(parts, f"{evaluator}#postprocessing")
        loss = parts.optional("loss")
    settings = _starting_point(folder, parts, overrides)
    settings["vaft_attack#activation"] = find_activation(
        postprocessing=flat(postprocessing), loss=loss, metadata=metadata, class_names=class_names
    )
    window = image_window(inferer_window(inferer), metadata)
    if inferer_window(inferer) is None:
        settings["vaft_block_size"] = fitting_sides(window, _BLOCK_SIZE)
    if len(window) == 2:
        for attack in ("vaft_attack", "vaft_validation_attack"):
            settings[f"{attack}#_target_"] = "monai_vafa.attacks.SliceFrequencyAttack"
    return Training(config, {id_: value for id_, value in settings.items() if id_.partition("#")[0] not in overrides})


def _optional(parts: Parts, id_: str) -> Any:
    return None if parts.parser.get(id_) is None else parts.build(id_.rpartition("#")[2], id_)


def _starting_point(folder: Path, parts: Parts, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Weights that the bundle predicts with: its inference knows best where they lie."""
    if "starting_checkpoint" in overrides:
        return {}
    try:
        files = config_files(folder, workflow="inference")
        workflow = open_workflow(folder, files, device=torch.device("cpu"), overrides={})
        parts = Parts(workflow, name=parts.name)
    except ValueError:
        logger.debug("bundle %s has no inference config", parts.name)
    with scripts_of(folder):
        weights, key = find_checkpoint(parts, folder)
    if not weights.is_file():
        raise FileNotFoundError(
            f"bundle {parts.name} has no weights to start from: {str(weights)!r} does not exist. Name a file with "
            "starting_checkpoint, or start from scratch with starting_checkpoint=None."
        )
    return {"starting_checkpoint": str(weights), **({"starting_key": key} if key else {})}


def _refuse_writing_into(folder: Path, parts: Parts) -> None:
    for id_, saver in _savers(parts.parser.get()):
        key = _SAVERS[str(saver["_target_"]).rpartition(".")[2]]
        if key not in saver:
            continue
        where = Path(os.fspath(parts.build("checkpoint", f"{id_}#{key}"))).resolve()
        if where.is_relative_to(folder):
            raise ValueError(
                f"bundle {parts.name} would write weights into its own folder, {str(where)!r}: set {id_}#{key}, or "
                "give another ckpt_dir."
            )


def _savers(config: Any, id_: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(config, dict) and str(config.get("_target_")).rpartition(".")[2] in _SAVERS:
        yield id_, config
        return
    children = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, child in children:
        yield from _savers(child, f"{id_}#{key}" if id_ else str(key))


def _tell_key_metric(parts: Parts, evaluator: str) -> None:
    metrics = _optional(parts, f"{evaluator}#key_val_metric")
    if not metrics:
        logger.warning(
            "bundle %s names no key metric of its validation (%s#key_val_metric), by which best weights could be told.",
            parts.name,
            evaluator,
        )
        return
    metric, made = next(iter(metrics.items()))
    if "dice" not in type(made).__name__.lower():
        logger.warning(
            "bundle %s: its best weights will be those of the best %s (%s) under attack, which is no DSC.",
            parts.name,
            metric,
            type(made).__name__,
        )
