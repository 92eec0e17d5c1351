# SPDX-License-Identifier: Apache-2.0
"""What the result files hold: the evaluation writes them with this, the report reads them with this."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

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


# objects of summary.json and benchmark.json; result_files.schema.json says what is in each
AttackFacts: TypeAlias = dict[str, Any]
Comparison: TypeAlias = dict[str, Any]
Statistics: TypeAlias = dict[str, Any]
Summary: TypeAlias = dict[str, Any]
BenchmarkFile: TypeAlias = dict[str, Any]


def volume_name(kind: str, case: str, row: str) -> str:
    """Path of a volume within the folder of a run."""
    return file_name(inside(Path(kind), f"{case}_{row}.nii.gz").as_posix())
