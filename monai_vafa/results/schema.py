# SPDX-License-Identifier: Apache-2.0
"""What the result files hold: the evaluation writes them with this, the report reads them with this."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypedDict

from .files import file_name, inside

CLEAN = "clean"  # row of the image that nobody attacked
LABEL = "label"  # in place of a row's name, in the name of the reference volume

SUMMARY, CASES, METRICS, MANIFEST = "summary.json", "cases.csv", "metrics.csv", "manifest.json"
CASE_KEYS = ("case", "attack")
METRIC_KEYS = ("case", "attack", "class")
BENCHMARK, TRANSFER = "benchmark.json", "transfer.csv"
TRANSFER_KEYS = ("case", "source", "target", "attack")

# tables of facts: files and what is in them, columns, units
_FACTS = json.loads(resources.files(__package__).joinpath("schema.json").read_text(encoding="utf-8"))
RUN_FILES: dict[str, str] = _FACTS["run_files"]
BENCHMARK_FILES: dict[str, str] = _FACTS["benchmark_files"]
CERTAINTY_FILES: dict[str, str] = _FACTS["certainty_files"]  # of both
UNITS: str = _FACTS["units"]
# columns that are there only if an attack could not follow a gradient -> what they are shares of
LOST_GRADIENTS: dict[str, str] = _FACTS["lost_gradients"]


@dataclass(frozen=True)
class Column:
    """How a column of ``cases.csv`` is shown."""

    header: str  # its name in tables
    digits: int  # decimals
    scale: float = 1.0  # what the value is multiplied by before it is printed
    zero: float = 0.0  # what is subtracted from the value before that
    suffix: str = ""  # what follows the number
    levels: Sequence[float] = ()  # of a measure of likeness, as printed: that of the clean image, and those compared

    def format(self, value: float) -> str:
        """A value, in the units of the file, as it is printed."""
        return f"{self.printed(value):.{self.digits}f}{self.suffix}"

    def printed(self, value: float) -> float:
        """The number that is printed for a value."""
        return self.scale * (value - self.zero)


COLUMNS = {name: Column(**shown) for name, shown in _FACTS["columns"].items()}


@dataclass(frozen=True)
class Row:
    """What a row of the results stands for."""

    attack: str  # name of the base row
    parameter: str | None = None  # in which this row differs from it; None for the base row itself
    value: float | None = None  # of that parameter


# "class" is a keyword of Python.
AttackFacts = TypedDict(
    "AttackFacts",
    {
        "class": str,
        "parameters": dict[str, Any],
        "threat_model": str,
        "control": bool,  # never asks the network
        "budget": str | None,  # the parameter that bounds the change
        "value": Any,  # the budget's value
        "base": str,  # row of which this is a variation; the row itself where it is none
    },
)


class Comparison(TypedDict):
    """Paired test between two rows of a run, or two models."""

    first: str
    second: str
    cases: int  # that both have
    difference: float  # mean DSC of the first minus that of the second
    p: float  # Wilcoxon signed-rank
    p_holm: float  # after Holm's correction for all comparisons of the list


class Statistics(TypedDict):
    """How certain the scores of a run are, see :mod:`monai_vafa.results.statistics`."""

    confidence: float
    threshold: float  # DSC below which an attack has succeeded
    rows: dict[str, dict[str, Any]]  # row -> what row_statistics returns
    comparisons: list[Comparison]  # of base rows and the clean image


class Summary(TypedDict):
    """Content of ``summary.json``."""

    status: str  # "running", "complete", "failed" or "interrupted"
    description: str
    device: str
    checkpoint: str | None
    versions: dict[str, str]
    class_names: list[str]
    activation: str
    unlabelled: int  # cases for which the prediction for the clean image stands in for a label
    probabilities: bool  # whether the network gives probabilities, which are converted back to logits
    unmeasured: list[str]  # visibility metrics that could not be measured here
    cases: dict[str, str]  # name -> image file
    failed: dict[str, str]  # name of a case -> error
    means: dict[str, dict[str, Any]]  # row -> column -> mean over the cases; under "classes" the same of each class
    statistics: Statistics | None  # None until the run has ended
    attacks: dict[str, AttackFacts]
    threat_models: dict[str, str]
    parameters: dict[str, Any]  # all that the results depend on; a second run must have the same


class BenchmarkFile(TypedDict):
    """Content of ``benchmark.json``."""

    status: str
    description: str
    models: list[str]
    rows: dict[str, dict[str, Any]]  # fields of Row
    worst_cases: dict[str, list[str]]  # name of a group -> base rows
    checklist: dict[str, Any] | None  # role -> base row; "huge_budget" -> budget
    published: str | None
    hardened: dict[str, list[str]]  # model -> its network, and what it was trained against


def volume_name(kind: str, case: str, row: str) -> str:
    """Path of a volume within the folder of a run."""
    return file_name(inside(Path(kind), f"{case}_{row}.nii.gz").as_posix())
