# SPDX-License-Identifier: Apache-2.0
"""What is recorded of a run beside its scores: parameters, software, what each row is."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import monai
import torch
from monai.utils import ensure_tuple

import monai_vafa
from monai_vafa.attacks import Attack
from monai_vafa.attacks.base import constructor_parameters
from monai_vafa.data.paths import file_sha256
from monai_vafa.results.files import unicode_text
from monai_vafa.results.schema import AttackFacts, Row
from monai_vafa.target import Target

from .case import Settings


def run_parameters(
    target: Target, attacks: Mapping[str, Attack], settings: Settings, cases: Mapping[str, str]
) -> dict[str, Any]:
    """All that the results of a run depend on, as plain data."""
    metrics = settings.segmentation_metrics.items()
    return {
        "attacks": {name: constructor_parameters(attack) for name, attack in attacks.items()},
        "target": target.parameters,
        "windows": {name: constructor_parameters(target.windows)[name] for name in ("roi_size", "overlap")},
        "segmentation_metrics": {name: constructor_parameters(metric) for name, metric in metrics},
        "aim": None if settings.aim is None else constructor_parameters(settings.aim),
        "activation": target.activation,
        "cases": {name: unicode_text(path) for name, path in cases.items()},
    }


def input_digests(target: Target, item: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the files of a case that are there; "" for a label that it has not."""
    digests = {}
    for key in (target.image_key, target.label_key):
        paths = [Path(path) for path in ensure_tuple(item.get(key)) if path is not None]
        if all(path.exists() for path in paths):
            digests[key] = "+".join(file_sha256(path) for path in paths)
    return digests


def attack_facts(attacks: Mapping[str, Attack], rows: Mapping[str, Row]) -> dict[str, AttackFacts]:
    """What each row is, for those who read the results."""
    facts: dict[str, AttackFacts] = {}
    for name, attack in attacks.items():
        parameters = constructor_parameters(attack)
        facts[name] = {
            "class": parameters.pop("class"),
            "parameters": parameters,
            "threat_model": attack.threat_model,
            "control": attack.control,
            "budget": attack.budget,
            "value": None if attack.budget is None else parameters[attack.budget],
            "base": rows[name].attack,
        }
    return facts


def versions() -> dict[str, str]:
    """Versions of the software that results depend on."""
    packages = {package.__name__: str(package.__version__) for package in (monai_vafa, monai, torch)}
    return {**packages, "python": platform.python_version()}


def root_cause(error: BaseException) -> str:
    """Type and message of the innermost error: MONAI wraps the reason in an error that names the transform."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


@contextmanager
def status_kept(write: Callable[[str], None], failed: Mapping[str, str]) -> Iterator[None]:
    """Write the status of a run: "running", and at the end how it ended."""
    write("running")
    try:
        yield
    except BaseException as error:
        with suppress(OSError):  # such as a full disk, of which the error tells already
            write("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    write("failed" if failed else "complete")


def raise_failures(of_what: str, failed: Mapping[str, str]) -> None:
    """Make the process fail once everything that could be done has been written."""
    if failed:
        errors = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise RuntimeError(f"{len(failed)} {of_what} failed: {errors}")
