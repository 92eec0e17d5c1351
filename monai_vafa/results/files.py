# SPDX-License-Identifier: Apache-2.0
"""Read and write result files, and keep a folder for one run."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import re
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any
from unicodedata import normalize

from monai_vafa.atomic import write_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("monai_vafa.results")

_LOCK = ".lock"
# Text that spreadsheets would compute is written after a quote, as is text that looks so written.
_FORMULA = re.compile(r"^(?=(?![+-]?[\d.]+(e[+-]\d+)?$)'*[=+@\t\r-])")
_QUOTED = re.compile(f"^'{_FORMULA.pattern[1:]}")

# Locks of this process: a data worker that outlives it must not keep them.
_HELD: set[IO[str]] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: [file.close() for file in _HELD])


def inside(folder: Path, name: str) -> Path:
    """A file or folder in a folder, by a name that does not lead out of it."""
    if name in ("", "..") or "\0" in name or Path(name).name != name:
        raise ValueError(f"{name!r} leads out of {os.fspath(folder)!r}: take a name without / that is not empty.")
    return folder / name


def refuse_links(folder: Path) -> None:
    """Refuse a folder with links in it by which results would be written elsewhere; links to files are replaced."""
    for path in folder.glob("*"):
        if path.is_symlink() and (path.is_dir() or path.name == _LOCK):
            raise ValueError(f"{path.name} in {os.fspath(folder)!r} is a link, which results do not follow: remove it.")


@contextmanager
def folder_lock(folder: Path, parameter: str = "output_dir") -> Iterator[None]:
    """Keep other runs out of a folder; the operating system frees the lock of a process that dies."""
    refuse_links(folder)
    path = folder / _LOCK
    with _locked(path, parameter) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now(timezone.utc):%F %T} UTC")
        file.flush()
        _HELD.add(file)
        try:
            yield
        finally:
            _HELD.discard(file)
            with suppress(OSError):  # Windows removes no open file
                path.unlink()


def _locked(path: Path, parameter: str) -> IO[str]:
    place = f"{parameter}={os.fspath(path.parent)!r}"
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise ValueError(f"{place} can not be written ({error}): choose another {parameter}.") from error
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                raise ValueError(
                    f"{place} is in use by another run ({file.read()}). Wait until it ends or stop it, and start this "
                    f"one again; or choose another {parameter}."
                ) from None
        except OSError as error:
            logger.warning("%s can not be locked (%s): do not start a second run there.", path.parent, error)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # the one who had the lock has removed the file since it was opened here


def unicode_text(name: str | os.PathLike[str]) -> str:
    """A path or file name as it is written into files, in whatever locale it was read from the file system."""
    return os.fspath(name).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def file_name(text: str) -> str:
    """The other way round: a file name as this locale has it."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def same_name(names: Sequence[str]) -> tuple[int, int] | None:
    """Positions of the first two names that are one where letter case does not count, as on some file systems."""
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if (first := seen.setdefault(normalize("NFC", name).casefold(), i)) != i:
            return first, i
    return None


def check_known(place: str, names: Iterable[str], known: Collection[str], kind: str = "") -> None:
    """Refuse names that are none of those known."""
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{place} names {unknown[0]!r}, which is none of {kind}{', '.join(known)}.")


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
    try:
        return json.loads(read_text(path)) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r} is damaged: {error}; restore or remove it.") from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file, text that spreadsheets would compute after a quote; other keys of the rows are left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: _FORMULA.sub("'", cell_text(row.get(column))) for column in columns} for row in rows)
    write_text(path, text.getvalue())


def read_rows(path: Path, *, ragged: bool = False) -> list[dict[str, str]]:
    """Rows of a CSV file; none if there is no such file. ``ragged``: rows of another length than the header may be."""
    rows = list(csv.DictReader(io.StringIO(read_text(path), newline=""))) if path.is_file() else []
    if not ragged and any(None in row or None in row.values() for row in rows):
        raise ValueError(f"{os.fspath(path)!r} is damaged: a row is not as long as the header; restore or remove it.")
    return [{k: _QUOTED.sub("", cell) if isinstance(cell, str) else cell for k, cell in row.items()} for row in rows]


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
    A CSV file, or a table in memory (``path=None``), whose rows are grouped by the cells of its key columns.

    ``columns``: first columns of the file, if they are not just the keys. ``known``: the further columns that may be
    empty; any other that no row has a value in is left out, as damage may have made it.
    """

    def __init__(
        self,
        path: Path | None,
        keys: Sequence[str],
        columns: Sequence[str] = (),
        known: Collection[str] | None = None,
    ) -> None:
        self.path, self.keys, self.columns, self.known = path, keys, columns or keys, known
        self.groups = self._grouped([] if path is None else read_rows(path, ragged=True))

    def _grouped(self, rows: Iterable[dict[str, str]]) -> dict[tuple[str, ...], list[dict[str, str]]]:
        groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in rows:
            groups.setdefault(tuple(row.get(column, "") for column in self.keys), []).append(row)
        return groups

    @property
    def rows(self) -> list[dict[str, str]]:
        """All rows."""
        return [row for group in self.groups.values() for row in group]

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows in place of those with the same keys."""
        added = self._grouped({column: cell_text(value) for column, value in row.items()} for row in rows)
        for key in added:
            self.groups.pop(key, None)
        self.groups |= added

    def write(self, order: Sequence[Sequence[str]] = ()) -> None:
        """Write the file, sorted by ``order``: for each key column its values, the first column counting most."""
        ranks = [{value: i for i, value in enumerate(values)} for values in order]
        keys = sorted(self.groups, key=lambda key: [r.get(cell, len(r)) for r, cell in zip(ranks, key, strict=False)])
        self.groups = {key: self.groups[key] for key in keys}
        if self.path is not None:
            cells = [cell for row in self.rows for cell in row.items()]
            columns = [column for column, text in cells if text or self.known is None or column in self.known]
            write_rows(self.path, list(dict.fromkeys([*self.columns, *columns])), self.rows)
