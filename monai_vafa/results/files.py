# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Read and write result files. A file is never half written, even if the run is killed."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PARTIAL = ".partial"
_HOST = re.sub(r"\W", "-", socket.gethostname())


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place, then move it there."""
    path = Path(file_name(os.fspath(path)))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}{_PARTIAL}")
    try:
        write(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_partial_files(folder: Path) -> None:
    """Remove unfinished files of this process, and of killed ones on this machine; all others stay."""
    for stale in folder.rglob(f".*.{_HOST}.*{_PARTIAL}") if folder.is_dir() else ():
        pid = stale.name.removesuffix(_PARTIAL).rpartition(".")[2]
        if pid.isdecimal() and not _lives_elsewhere(int(pid)):
            stale.unlink(missing_ok=True)


def _lives_elsewhere(pid: int) -> bool:
    """Whether a process is another one than this and is alive; on Windows, where asking would end it, it may be."""
    if pid == os.getpid():
        return False
    try:
        if os.name != "nt":
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def unicode_text(name: str | os.PathLike[str]) -> str:
    """A path or file name as it is written into files, in whatever locale it was read from the file system."""
    return os.fspath(name).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def file_name(text: str) -> str:
    """The other way round: a file name as this locale has it."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8 whatever the locale."""
    write_file(path, lambda partial: partial.write_bytes(text.encode("utf-8", "surrogateescape")))


def read_text(path: Path) -> str:
    """Content of a text file of :func:`write_text`."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if there is no such file."""
    return json.loads(read_text(path)) if path.is_file() else {}


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file; other keys of the rows are left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: cell_text(row.get(column)) for column in columns} for row in rows)
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none if there is no such file."""
    return list(csv.DictReader(io.StringIO(read_text(path), newline=""))) if path.is_file() else []


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
