# SPDX-License-Identifier: Apache-2.0
"""Finished rows, a file each, until they are merged into tables: many processes may write them side by side."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from .files import cell_text, read_json, write_text

logger = logging.getLogger("monai_vafa.results")


class Journal:
    """
    Records by key in a folder ``.rows``. Each is one file, written at once, so that adding costs the same however many
    there are, and a record that is written twice is there once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ".rows"

    def write(self, key: Sequence[str], record: Mapping[str, Any]) -> None:
        """Write a record, in place of an earlier one of this key."""
        write_text(self._path(key), json.dumps({"key": list(key), **record}))

    def remove(self, key: Sequence[str]) -> None:
        """Remove the record of a key, if there is one."""
        self._path(key).unlink(missing_ok=True)

    def read(self) -> list[dict[str, Any]]:
        """All records in the order of their keys; those that are damaged are removed, and the log says so."""
        records = []
        for path in self.folder.glob("*.json") if self.folder.is_dir() else ():
            try:
                record = read_json(path)
                if self._path(record["key"]) == path:
                    records.append(record)
                    continue
            except (KeyError, TypeError, ValueError) as error:
                logger.debug("%s", error)
            logger.warning("%s is damaged; its row is computed anew.", path)
            path.unlink(missing_ok=True)
        return sorted(records, key=lambda record: record["key"])

    def clear(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Remove records that are merged; what was written since they were read stays."""
        for record in records:
            self.remove(record["key"])
        with suppress(OSError):  # not there, or not empty
            self.folder.rmdir()

    def _path(self, key: Sequence[str]) -> Path:
        return self.folder / f"{digest(list(key))[:32]}.json"


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """A row as a CSV file keeps it."""
    return {column: cell_text(value) for column, value in row.items()}


def digest(content: Any) -> str:
    """Hash of plain data."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
