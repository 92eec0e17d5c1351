# SPDX-License-Identifier: Apache-2.0
"""Commands of ``python -m monai_vafa``; most run one config of a shipped bundle, and log how MONAI does the same."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import monai.bundle
from monai.bundle import ConfigParser

from monai_vafa.data.paths import check_path
from monai_vafa.metrics import fetch_trunk as fetch_lpips_trunk
from monai_vafa.networks import convert_checkpoint as convert
from monai_vafa.options import as_word, check_options
from monai_vafa.report.leaderboard import leaderboard
from monai_vafa.target import copy_bundle as bundle
from monai_vafa.target import shipped_bundles
from monai_vafa.target.config import as_config, as_expression, read_config

__all__ = ["attack", "benchmark", "bundle", "convert", "fetch_lpips_trunk", "harden", "leaderboard"]

logger = logging.getLogger(__name__)


def attack(
    bundle: str | None = None, dataset_dir: str | None = None, *, output_dir: str | None = None, **overrides: Any
) -> None:
    """Attack a segmentation bundle with VAFA and write a report: tables, figures, index.html.

    Any other id of attack.json can be set too: --q_max 30 --checkpoint my.pt --workflow evaluate --device cpu.
    With --debug, errors show where they come from.

    Args:
        bundle: a folder, or the name of a bundle of this package or of MONAI's model zoo; by default, the demo model.
        dataset_dir: folder of images and labels; by default, the cases that the bundle's config names.
        output_dir: folder of the report.
        overrides: id and value.
    """
    _run("vafa_attack", "attack.json", overrides, bundle=bundle, dataset_dir=dataset_dir, output_dir=output_dir)


def benchmark(
    bundle: str | None = None, dataset_dir: str | None = None, *, output_dir: str | None = None, **overrides: Any
) -> None:
    """Run all attacks and controls, each at several budgets, on a segmentation bundle and write a report.

    Any other id of benchmark.json can be set too: --sweeps {} --checklist True --checkpoint my.pt --device cpu.
    With --debug, errors show where they come from.

    Args:
        bundle: a folder, or the name of a bundle of this package or of MONAI's model zoo; by default, both demo models.
        dataset_dir: folder of images and labels; by default, the cases that the bundle's config names.
        output_dir: folder of the report.
        overrides: id and value.
    """
    if bundle is not None and overrides.get("models") is not None:
        raise ValueError(f"bundle={bundle!r} and models both name what is attacked; give one.")
    for id_ in ("checklist_sweeps", "checklist_roles"):
        if id_ in overrides and overrides.get("checklist") in (None, False):
            raise ValueError(f"{id_} is read with --checklist True only.")
    _run("vafa_attack", "benchmark.json", overrides, bundle=bundle, dataset_dir=dataset_dir, output_dir=output_dir)


def harden(
    bundle: str | None = None, dataset_dir: str | None = None, *, ckpt_dir: str | None = None, **overrides: Any
) -> None:
    """Continue the training of a segmentation bundle with VAFT; the best weights are the best under attack.

    Any other id of vaft_training's train.json can be set too: --epochs 10 --checkpoint my.pt.
    With --debug, errors show where they come from.

    Args:
        bundle: a folder, or the name of a bundle of this package or of MONAI's model zoo; by default, the demo model.
        dataset_dir: folder of the training data, laid out as the bundle expects; by default, the config's own.
        ckpt_dir: folder of the new weights; nothing in the bundle's folder changes.
        overrides: id and value.
    """
    _run("vaft_training", "train.json", overrides, bundle=bundle, dataset_dir=dataset_dir, ckpt_dir=ckpt_dir)


def _run(name: str, config: str, overrides: Mapping[str, Any], **arguments: str | None) -> None:
    """Run a config of a shipped bundle with the arguments that are not None, and log the equivalent call of MONAI."""
    path = os.fspath(shipped_bundles() / name / "configs" / config)
    given = {**{id_: value for id_, value in arguments.items() if value is not None}, **overrides}
    if given.get("args_file") is not None:
        content = read_config(check_path("args_file", given["args_file"]))
        if Path(str(content.get("config_file"))).resolve() == Path(path):
            # As monai.bundle run would have it.
            del content["config_file"]
        given = {**content, **given}
    given.pop("args_file", None)
    # `monai.bundle run` calls its own configs config_file, so the configs of the bundle need another id.
    if "config_file" in given:
        given["configs"] = given.pop("config_file")
    given = check_options(config, ConfigParser.load_config_file(path), given)
    # As an expression, so that MONAI takes nothing in it for ids and objects of the config that runs.
    if isinstance(given.get("overrides"), dict):
        given["overrides"] = as_expression(given["overrides"])
    # MONAI ignores overrides that are None.
    given = {id_: "$None" if value is None else as_config(value) for id_, value in given.items()}
    words = [word for id_, value in given.items() for word in (f"--{id_}", as_word(value))]
    line = shlex.join(["python", "-m", "monai.bundle", "run", "--config_file", path, *words])
    logger.info("The same without this command:\n%s", line)
    monai.bundle.run(config_file=path, **given)
