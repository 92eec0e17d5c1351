# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are never half-written: a run may be killed at any moment."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CsvTable", "read_json", "remove_partial_files", "write_file", "write_json"]

_PARTIAL = ".partial"


def write_file(path: Path, content: bytes) -> None:
    """
    Write a file beside its place and move it there.

    Args:
        path: where it belongs; folders are made.
        content: all of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    partial.write_bytes(content)
    os.replace(partial, path)


def remove_partial_files(folder: Path) -> None:
    """
    Remove what a killed run left of files it had not finished.

    Args:
        folder: searched with all its subfolders; need not exist.
    """
    if folder.is_dir():
        for stale in folder.rglob(f".*{_PARTIAL}"):
            stale.unlink()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """
    Write a JSON file.

    Args:
        path: where it belongs.
        content: plain data.
    """
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """
    Read a JSON file.

    Args:
        path: file to read.

    Returns:
        its content; empty when there is no such file.
    """
    return json.loads(path.read_text()) if path.is_file() else {}


class CsvTable:
    """
    A CSV file with one row for each combination of its key columns.

    Args:
        path: file; what it holds already is read.
        keys: names of the first columns, which tell rows apart.
    """

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        self.path = path
        self.keys = tuple(keys)
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with open(path, newline="") as file:
                self.rows = list(csv.DictReader(file))

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """
        Add rows; one with the same keys gives way.

        Args:
            rows: column -> value; what is ``None``, NaN or infinite becomes an empty cell.
        """
        new = [{column: _cell(value) for column, value in row.items()} for row in rows]
        replaced = {self.key(row) for row in new}
        self.rows = [row for row in self.rows if self.key(row) not in replaced] + new

    def key(self, row: Mapping[str, str]) -> tuple[str, ...]:
        """The cells that tell a row from others."""
        return tuple(row[column] for column in self.keys)

    def write(self, order: Mapping[str, Iterable[str]] | None = None) -> None:
        """
        Write the file.

        Args:
            order: column -> its values in the order wanted, the first column counting most; other values come last.
        """
        ranks = {column: {v: i for i, v in enumerate(values)} for column, values in (order or {}).items()}
        self.rows.sort(key=lambda row: [rank.get(row[column], len(rank)) for column, rank in ranks.items()])
        columns = list(dict.fromkeys([*self.keys, *(column for row in self.rows for column in row)]))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_file(self.path, text.getvalue().encode())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else str(value)
