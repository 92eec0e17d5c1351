# SPDX-License-Identifier: Apache-2.0
"""What is compared of two result folders: all but the seconds that things took."""

from __future__ import annotations

import csv
import json
from pathlib import Path


def contents(folder):
    """Every file of a run by its name, without the seconds that it took."""
    return {
        path.relative_to(folder).as_posix(): content_of(path)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def content_of(path):
    """The rows of a table, the values of a record, the bytes of any other file."""
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    if path.suffix == ".json":
        return _without_seconds(json.loads(path.read_text(encoding="utf-8")))
    return path.read_bytes()


def _without_seconds(content):
    if isinstance(content, dict):
        return {key: _without_seconds(value) for key, value in content.items() if key != "seconds"}
    return [_without_seconds(value) for value in content] if isinstance(content, list) else content
