# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Which configs of a bundle to read, and reading them without running them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow

__all__ = ["config_files", "open_workflow"]

# What each workflow of the zoo is made of; an evaluation is laid over the training.
_WORKFLOWS = {"inference": ("inference",), "evaluate": ("train", "evaluate"), "train": ("train",)}
_SUFFIXES = (".json", ".yaml", ".yml")
_CUDA = r"cuda(:\d+)?"
_QUOTED_CUDA = re.compile(rf"(?<=['\"]){_CUDA}(?=['\"])")


def config_files(
    folder: Path, *, workflow: str | None = None, config_file: str | Sequence[str] | None = None
) -> list[Path]:
    """
    Config files of a bundle, in the order in which they are laid over each other.

    Args:
        folder: of the bundle.
        workflow: "inference", "evaluate" (``evaluate`` over ``train``) or "train"; ``None`` for the first of these
            that is there.
        config_file: names of files in ``configs``, or paths; stands in for ``workflow``.

    Raises:
        ValueError: When both are given, or the workflow is unknown or not there.
        FileNotFoundError: When a file of ``config_file`` does not exist.
    """
    if config_file is not None:
        if workflow is not None:
            raise ValueError(f"workflow={workflow!r} and config_file={config_file!r} both choose configs; give one.")
        names = [config_file] if isinstance(config_file, (str, os.PathLike)) else list(config_file)
        return [_existing(folder, name) for name in names]
    if workflow is not None and workflow not in _WORKFLOWS:
        raise ValueError(f"workflow={workflow!r} must be one of {', '.join(_WORKFLOWS)}.")
    there = {path.stem: path for suffix in reversed(_SUFFIXES) for path in (folder / "configs").glob(f"*{suffix}")}
    for name in _WORKFLOWS if workflow is None else [workflow]:
        if all(stem in there for stem in _WORKFLOWS[name]):
            return [there[stem] for stem in _WORKFLOWS[name]]
    wanted = " + ".join(_WORKFLOWS[workflow]) if workflow else "inference or train"
    raise ValueError(
        f"bundle {str(folder)!r} has no config {wanted}; its configs are {', '.join(sorted(there))}. Name the right "
        "ones with config_file."
    )


def open_workflow(
    folder: Path, files: Sequence[Path], *, device: torch.device, overrides: Mapping[str, Any]
) -> ConfigWorkflow:
    """
    Read configs so that single parts can be built; nothing is built or run yet.

    ``bundle_root`` becomes the folder of the bundle, ``device`` the given one, also where a config names a CUDA device
    outright.

    Args:
        folder: of the bundle.
        files: config files, later ones laid over earlier ones.
        device: for everything that the config would put on a CUDA device.
        overrides: id -> value, as on the command line of ``monai.bundle run``.

    Returns:
        a workflow of type "train" where the config trains or validates, else "infer".
    """
    names = [str(path) for path in files]
    content = ConfigParser.load_config_files(names)
    workflow = ConfigWorkflow(
        config_file=names,
        meta_file=str(folder / "configs" / "metadata.json"),
        logging_file=False,
        # Initialising would load weights, and for that make the data sets.
        init_id="_not_run_",
        workflow_type="train" if content.keys() & {"train", "validate", "trainer"} else "infer",
        **{"bundle_root": str(folder), "device": f"$torch.device('{device}')", **overrides},
    )
    workflow.parser.set(_on_device(workflow.parser.get(), str(device)))
    workflow.initialize()
    return workflow


def _existing(folder: Path, name: str | os.PathLike) -> Path:
    for path in (folder / "configs" / name, Path(name)):
        if path.is_file():
            return path
    raise FileNotFoundError(f"config_file {os.fspath(name)!r} is neither in {str(folder / 'configs')!r} nor a path.")


def _on_device(config: Any, device: str) -> Any:
    """Write another device where a config names a CUDA device outright."""
    if isinstance(config, dict):
        return {key: _on_device(value, device) for key, value in config.items()}
    if isinstance(config, list):
        return [_on_device(value, device) for value in config]
    if not isinstance(config, str):
        return config
    if config.startswith("$"):
        return _QUOTED_CUDA.sub(device, config)
    return device if re.fullmatch(_CUDA, config) else config
