# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading result files, and writing beside their place so that there is never half a file."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["number", "read_json", "read_rows", "write_file", "write_rows", "write_text"]


def read_json(path: Path) -> Any:
    """Content of a JSON file; an empty dictionary when there is none."""
    return json.loads(path.read_text()) if path.is_file() else {}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none when there is no file."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def number(cell: str | None) -> float | None:
    """Value of a CSV cell; ``None`` when it is empty or absent."""
    return float(cell) if cell else None


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """
    Write a CSV file.

    Args:
        path: the file.
        columns: its columns; what a row has besides is left out.
        rows: a cell of ``None`` stays empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(row.get(key)) for key in columns} for row in rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    write_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """
    Write a file beside its place, then move it there.

    Args:
        path: the file; its folder is made.
        write: writes the file to the path it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    os.replace(partial, path)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else None
    return value
