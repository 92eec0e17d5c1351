# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Read and write result files. A file is never half written, even if the run is killed."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "CsvTable",
    "cell_text",
    "number",
    "read_json",
    "read_rows",
    "remove_partial_files",
    "write_file",
    "write_json",
    "write_rows",
    "write_text",
]

_PARTIAL = ".partial"


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place, then move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    write(partial)
    os.replace(partial, path)


def remove_partial_files(folder: Path) -> None:
    """Remove unfinished files of a killed run."""
    if folder.is_dir():
        for stale in folder.rglob(f".*{_PARTIAL}"):
            stale.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    write_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if there is no such file."""
    return json.loads(path.read_text()) if path.is_file() else {}


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file; other keys of the rows are left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: cell_text(row.get(column)) for column in columns} for row in rows)
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none if there is no such file."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def cell_text(value: Any) -> str:
    """Text of a CSV cell; empty for ``None``, NaN and infinite values."""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else str(value)


def number(cell: str | None) -> float | None:
    """Value of a CSV cell; ``None`` if it is empty or absent."""
    return float(cell) if cell else None


class CsvTable:
    """
    A CSV file with one row for each combination of its key columns.

    Args:
        path: file; what it holds already is read. ``None`` for a table in memory.
        keys: names of the first columns, which tell rows apart.
    """

    def __init__(self, path: Path | None, keys: Sequence[str]) -> None:
        self.path = path
        self.keys = tuple(keys)
        self.rows = [] if path is None else read_rows(path)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows; one with the same keys gives way."""
        new = [{column: cell_text(value) for column, value in row.items()} for row in rows]
        replaced = {self.key(row) for row in new}
        self.rows = [row for row in self.rows if self.key(row) not in replaced] + new

    def key(self, row: Mapping[str, str]) -> tuple[str, ...]:
        """The cells that tell a row from others."""
        return tuple(row[column] for column in self.keys)

    def write(self, order: Mapping[str, Iterable[str]] | None = None) -> None:
        """Write the file, rows sorted by ``order``: column -> values, the first column counting most."""
        ranks = {column: {v: i for i, v in enumerate(values)} for column, values in (order or {}).items()}
        self.rows.sort(key=lambda row: [rank.get(row[column], len(rank)) for column, rank in ranks.items()])
        columns = list(dict.fromkeys([*self.keys, *(column for row in self.rows for column in row)]))
        if self.path is not None:
            write_rows(self.path, columns, self.rows)
