# SPDX-License-Identifier: Apache-2.0
"""The folder of an attack run, written so that a run killed at any moment can be finished."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from monai_vafa.atomic import remove_partial_files, write_file
from monai_vafa.data.paths import file_sha256

from .files import CsvTable, folder_lock, read_json, same_name, write_json
from .schema import CASE_KEYS, CASES, CLEAN, LABEL, MANIFEST, METRIC_KEYS, METRICS, SUMMARY, Summary, volume_name
from .volumes import nifti_bytes

logger = logging.getLogger("monai_vafa.results")

_GROWING = ("attacks", "cases")


class ResultFolder:
    """
    Result files of an attack run, see :data:`~monai_vafa.results.schema.RUN_FILES`.

    A case and attack are finished when the hashes of their rows and volumes are those in ``manifest.json``. What is
    not, or was damaged since, is left out and has to be computed anew.

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
        self._load()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder, and look at what those before have left."""
        with folder_lock(self.folder):
            remove_partial_files(self.folder)
            for line in self._load():
                logger.warning("%s; computed anew.", line)
            yield

    def _load(self) -> list[str]:
        """Read what is finished; returns lines on what is damaged."""
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
        self._tables = {
            CASES: CsvTable(self.folder / CASES, CASE_KEYS),
            METRICS: CsvTable(self.folder / METRICS, CASE_KEYS, METRIC_KEYS),
        }
        self._finished: dict[str, dict[str, Any]] = {}
        self._written: list[str] = []  # volumes, KIND/ATTACK, that the next row belongs to
        damaged = []
        for case, attacks in manifest.get("finished", {}).items():
            for attack, record in attacks.items():
                now = self._record(case, attack, [place for place in record if "/" in place])
                if bad := [name for name, digest in record.items() if now.get(name) != digest]:
                    damaged.append(f"{case} under {attack} is damaged ({', '.join(bad)})")
                else:
                    self._finished.setdefault(case, {})[attack] = record
        if self._tables[CASES].groups and "finished" not in manifest:
            damaged.append(f"{self.folder / MANIFEST} is gone or damaged")
        for table in self._tables.values():
            table.groups = {key: rows for key, rows in table.groups.items() if key[1] in self.finished(key[0])}
        self._manifest = {"parameters": self.parameters, "inputs": known}
        return damaged

    def _record(self, case: str, attack: str, volumes: Sequence[str]) -> dict[str, str]:
        """Hashes of the rows and volumes, named KIND/ATTACK, of a case under an attack, as they are."""
        rows = {name: rows_digest(table.groups.get((case, attack), [])) for name, table in self._tables.items()}
        paths = {place: self.volume(kind, case, name) for place in volumes for kind, name in [place.split("/")]}
        return rows | {place: file_sha256(path) for place, path in paths.items() if path.is_file()}

    def finished(self, case: str) -> set[str]:
        """Names of the attacks whose results for a case are complete."""
        return set(self._finished.get(case, {}))

    def missing(self, case: str, attacks: Sequence[str], saved: Collection[str]) -> list[str]:
        """Those of the attacks that are not finished, or lack the volumes that are to be saved."""
        done = self._finished.get(case, {})
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
        self._written.append(f"{kind}/{name}")

    def add(self, case_row: Mapping[str, Any], metric_rows: Sequence[Mapping[str, Any]]) -> None:
        """Record one attack on one case, together with the volumes written since the last one."""
        self._tables[CASES].add([case_row])
        self._tables[METRICS].add(metric_rows)
        self.flush()
        case, attack = case_row["case"], case_row["attack"]
        self._finished.setdefault(case, {})[attack] = self._record(case, attack, self._written)
        self._written = []
        self._manifest["inputs"].setdefault(case, self._inputs.get(case, {}))
        finished = {name: dict(sorted(attacks.items())) for name, attacks in sorted(self._finished.items())}
        write_json(self.folder / MANIFEST, {**self._manifest, "finished": finished})

    def flush(self, cases: Sequence[str] = (), attacks: Sequence[str] = ()) -> None:
        """Write both tables, that of the cases last."""
        for name in (METRICS, CASES):
            self._tables[name].write((cases, attacks))

    def rows(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Rows of ``cases.csv`` and of ``metrics.csv`` so far."""
        return self._tables[CASES].rows, self._tables[METRICS].rows

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
