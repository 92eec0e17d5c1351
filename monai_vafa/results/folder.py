# SPDX-License-Identifier: Apache-2.0
"""The folder of an attack run, written so that a run killed at any moment can be finished."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from monai_vafa.atomic import remove_partial_files, write_file
from monai_vafa.data.paths import file_sha256

from .files import CsvTable, folder_lock, read_json, same_name, write_json
from .journal import Journal, cells, digest
from .schema import (
    CASE_KEYS,
    CASES,
    CLEAN,
    COLUMNS,
    LABEL,
    LOST_GRADIENTS,
    MANIFEST,
    METRIC_KEYS,
    METRICS,
    SUMMARY,
    Summary,
    volume_name,
)
from .volumes import nifti_bytes

logger = logging.getLogger("monai_vafa.results")

_GROWING = ("attacks", "cases")


class ResultFolder:
    """
    Result files of an attack run, see :data:`~monai_vafa.results.schema.RUN_FILES`.

    A row, which is a case under an attack, is finished when its file in the journal is written; :meth:`merge` moves
    rows from there to the tables. Rows are whole as long as the hashes of their cells and volumes are those that were
    recorded; what was damaged since is left out and has to be computed anew.

    Args:
        folder: made with the first file.
        parameters: what the results depend on, plain data, see :func:`join_parameters`.
        inputs: case -> ``"image"`` or ``"label"`` -> hash of the file; "" if the case has none.

    Attributes:
        parameters: those given, with the attacks and cases of earlier runs, whose rows are still there.

    Raises:
        ValueError: If the folder holds results of other parameters or input files, or two volumes would have one name.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._given = as_stored(parameters)
        self._inputs = dict(inputs or {})
        self._journal = Journal(self.folder)
        self._load()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder, and look at what those before have left."""
        with folder_lock(self.folder):
            remove_partial_files(self.folder)
            self._load()
            yield

    def _load(self) -> None:
        """Read parameters and names of what is finished; rows are read when they are asked for."""
        manifest, summary = whole_json(self.folder / MANIFEST), whole_json(self.folder / SUMMARY)
        parts = [manifest.get(key, {}) for key in ("parameters", "inputs", "finished")]
        nested = [part for each in parts[1:] if isinstance(each, dict) for part in each.values()]
        if not all(isinstance(part, dict) for part in (*parts, *nested)):
            manifest = {}
        place, way_out = f"output_dir={os.fspath(self.folder)!r}", "Choose another output_dir, or remove this one."
        earlier = manifest.get("parameters", summary.get("parameters"))
        self.parameters = join_parameters(earlier, self._given, place=place, way_out=way_out)
        known = manifest.get("inputs", {})
        for case, files in self._inputs.items():
            if other := [key for key, digest in files.items() if known.get(case, files).get(key) != digest]:
                raise ValueError(
                    f"{place} holds results of other files: {' and '.join(other)} of case {case!r} changed since. "
                    f"{way_out}"
                )
        _check_file_names(self.parameters)
        self._known = {"parameters": self.parameters, "inputs": known, "finished": manifest.get("finished")}
        self._whole: dict[str, dict[str, Any]] = {}  # case -> attack -> record, of the cases looked at so far
        self._hashed: set[str] = set()  # those of which the volumes were looked at too
        self._written: dict[str, str] = {}  # volume, KIND/ATTACK, that the next row belongs to -> hash
        self.__dict__.pop("_tables", None)

    @cached_property
    def _tables(self) -> dict[str, CsvTable]:
        """Rows of the tables and, in their place, of the journal."""
        known = {*COLUMNS, *LOST_GRADIENTS, *self.parameters.get("segmentation_metrics", ())}
        tables = {
            CASES: CsvTable(self.folder / CASES, CASE_KEYS, known=known),
            METRICS: CsvTable(self.folder / METRICS, CASE_KEYS, METRIC_KEYS, known=known),
        }
        if tables[CASES].groups and self._known["finished"] is None:
            logger.warning("%s is gone or damaged; computed anew.", self.folder / MANIFEST)
        self._finished = {case: dict(attacks) for case, attacks in (self._known["finished"] or {}).items()}
        for record in self._journal.read():
            self._take(record, tables)
        return tables

    def _take(self, record: Mapping[str, Any], tables: Mapping[str, CsvTable]) -> None:
        """Copy a row from the journal to the tables in memory."""
        case, attack = record["key"]
        files = self._inputs.get(case) or self._known["inputs"].get(case, {})
        other_files = any(record["inputs"].get(key, known) != known for key, known in files.items())
        if other_files or record["stamp"] != self.stamp(case, attack):
            raise ValueError(
                f"{os.fspath(self._journal.folder)!r} holds a row of other parameters or input files, {case} under "
                f"{attack}: remove that folder and start the run again, or choose another output_dir."
            )
        for name, table in tables.items():
            table.add(record[name])
        rows = {name: rows_digest(record[name]) for name in tables}
        self._finished.setdefault(case, {})[attack] = rows | record["volumes"]
        self._known["inputs"].setdefault(case, record["inputs"])

    def _look(self, case: str, *, volumes: bool = True) -> dict[str, Any]:
        """Attack -> record of the rows of a case that are as they were written; what is damaged is forgotten."""
        if case in self._whole and not (volumes and case not in self._hashed):
            return self._whole[case]
        tables, whole = self._tables, self._finished.setdefault(case, {})
        for attack, record in list(whole.items()):
            now = {name: rows_digest(table.groups.get((case, attack), [])) for name, table in tables.items()}
            for kind, name in (place.split("/") for place in record if "/" in place):
                path, place = self.volume(kind, case, name), f"{kind}/{name}"
                now[place] = record[place] if not volumes else file_sha256(path) if path.is_file() else ""
            if bad := [name for name, digest in record.items() if now.get(name) != digest]:
                logger.warning("%s under %s is damaged (%s); computed anew.", case, attack, ", ".join(bad))
                self._journal.remove((case, attack))
                del whole[attack]
        self._whole[case] = whole
        self._hashed |= {case} if volumes else set()
        return whole

    def stamp(self, case: str, attack: str) -> str:
        """Hash of all that a row depends on, but for the files of its case."""
        own = {part: self.parameters[part].get(key) for part, key in zip(_GROWING, (attack, case), strict=True)}
        return digest({**self._given, **own})

    def finished(self, case: str) -> set[str]:
        """Names of the attacks whose results for a case are complete."""
        return set(self._look(case))

    def missing(self, case: str, attacks: Sequence[str], saved: Collection[str]) -> list[str]:
        """Those of the attacks that are not finished, or lack the volumes that are to be saved."""
        done = self._look(case)
        return [a for a in attacks if a not in done or (a in saved and f"adversarial/{a}" not in done[a])]

    def volume(self, kind: str, case: str, name: str) -> Path:
        """Path of a volume, whether it is there or not; see :func:`~monai_vafa.results.schema.volume_name`."""
        return self.folder / volume_name(kind, case, name)

    def write_volume(
        self,
        kind: str,
        case: str,
        name: str,
        voxels: np.ndarray,
        affine: np.ndarray,
        like: str | os.PathLike | None = None,
    ) -> None:
        """Write a NIfTI file (affine in mm); several channels go to the fourth axis, in 2-D behind a depth of 1."""
        content = nifti_bytes(voxels, affine, like)
        write_file(self.volume(kind, case, name), lambda partial: partial.write_bytes(content))
        self._written[f"{kind}/{name}"] = sha256(content).hexdigest()

    def add(self, case_row: Mapping[str, Any], metric_rows: Sequence[Mapping[str, Any]]) -> None:
        """Record one attack on one case, together with the volumes written since the last one."""
        case, attack = case_row["case"], case_row["attack"]
        content = {
            "stamp": self.stamp(case, attack),
            "inputs": self._inputs.get(case, {}),
            "volumes": self._written,
            CASES: [cells(case_row)],
            METRICS: [cells(row) for row in metric_rows],
        }
        self._journal.write((case, attack), content)
        self._written = {}

    def merge(self, cases: Sequence[str] = (), attacks: Sequence[str] = ()) -> None:
        """
        Move all rows of the journal to the tables, sorted by the names given; merging twice changes nothing.

        Raises:
            ValueError: If a row was made with other parameters or input files.
        """
        tables, records = self._tables, self._journal.read()
        for record in records:
            self._take(record, tables)
        self._drop_damaged()
        for name in (METRICS, CASES):
            tables[name].write((cases, attacks))
        self._known["finished"] = {
            case: dict(sorted(rows.items())) for case, rows in sorted(self._whole.items()) if rows
        }
        if self._known["finished"] or (self.folder / MANIFEST).exists():
            inputs = dict(sorted(self._known["inputs"].items()))
            write_json(self.folder / MANIFEST, {**self._known, "inputs": inputs})
        self._journal.clear(records)

    def _drop_damaged(self) -> None:
        tables = self._tables
        for case in self._finished:
            self._look(case, volumes=False)
        for table in tables.values():
            table.groups = {k: rows for k, rows in table.groups.items() if k[1] in self._whole.get(k[0], ())}

    def rows(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Rows of ``cases.csv`` and of ``metrics.csv`` so far."""
        tables = self._tables
        self._drop_damaged()
        return tables[CASES].rows, tables[METRICS].rows

    def write_summary(self, summary: Summary) -> None:
        """Write ``summary.json``."""
        write_json(self.folder / SUMMARY, summary)


def whole_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if it is not there or damaged."""
    try:
        content = read_json(path)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def rows_digest(rows: Sequence[Mapping[str, str]]) -> str:
    """Hash of rows of a CSV file, but for the time it took and the order of columns."""
    cells = [sorted((str(k), k == "seconds" or v) for k, v in row.items() if v) for row in rows]
    return sha256(json.dumps(cells).encode()).hexdigest()


def _check_file_names(parameters: Mapping[str, Any]) -> None:
    """Refuse names that lead to one file."""
    pairs = list(product(parameters.get("cases", ()), (CLEAN, LABEL, *parameters.get("attacks", ()))))
    if two := same_name(["_".join(pair) for pair in pairs]):
        (case, attack), (case2, attack2) = (pairs[i] for i in two)
        raise ValueError(
            f"case {case!r} with {attack!r} and case {case2!r} with {attack2!r} would share the file "
            f"{case2}_{attack2}.nii.gz: rename an attack or the file of a case."
        )


def as_stored(content: Any) -> Any:
    """Plain data as they come back from a JSON file."""
    return json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogateescape"))


def join_parameters(
    earlier: Mapping[str, Any] | None, now: Mapping[str, Any], *, place: str, way_out: str, name: str = ""
) -> dict[str, Any]:
    """Parameters of two runs, between which attacks and cases may come and go; names what else has changed."""
    if earlier is None:
        return dict(now)
    joined = as_stored(now)
    old, new = dict(earlier), dict(joined)
    for part in _GROWING:
        both = [key for key in joined[part] if key in earlier[part]]
        old[part], new[part] = ({key: side[part][key] for key in both} for side in (earlier, joined))
        joined[part] = {**joined[part], **earlier[part]}
    if changed := differences(old, new, name):
        some = "; ".join(changed[:5]) + ("; ..." if len(changed) > 5 else "")
        raise ValueError(f"{place} holds results of other parameters: {some}. {way_out}")
    return joined


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two pieces of plain data differ, as lines ``name: old, now new``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            line
            for key in dict.fromkeys([*old, *new])
            for line in differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for i, (before, now) in pairs for line in differences(before, now, f"{path}[{i}]")]
    return [] if old == new else [f"{path}: {old}, now {new}"]
