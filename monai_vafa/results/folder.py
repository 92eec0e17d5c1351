# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of an attack run, written so that a run killed at any moment can be finished."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from .files import CsvTable, read_json, remove_partial_files, write_file, write_json
from .schema import CASE_KEYS, CASES, METRIC_KEYS, METRICS, SUMMARY, Summary, volume_name

__all__ = ["ResultFolder", "differences", "join_parameters", "mean_rows", "refuse_changes"]

_GROWING = ("attacks", "cases")


class ResultFolder:
    """
    Result files of an attack run, see :data:`~monai_vafa.results.schema.RUN_FILES`.

    A row in ``cases.csv`` means that all other files of that case and attack are complete. Every file is written
    beside its place and moved there, so no file is ever half written.

    Args:
        folder: made with the first file.
        parameters: what the results depend on, plain data, see :func:`join_parameters`.

    Attributes:
        parameters: those given, with the attacks and cases of earlier runs, whose rows are still there.

    Raises:
        ValueError: If the folder holds results of other parameters, or of cases with the same names from other files;
            names the first that differ.
    """

    def __init__(self, folder: str | os.PathLike, parameters: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        summary = read_json(self.folder / SUMMARY)
        self.parameters, changed = join_parameters(summary.get("parameters"), parameters)
        refuse_changes(f"output_dir={os.fspath(folder)!r}", changed, "Choose another output_dir, or remove this one.")
        remove_partial_files(self.folder)
        self._cases = CsvTable(self.folder / CASES, CASE_KEYS)
        self._metrics = CsvTable(self.folder / METRICS, METRIC_KEYS)
        finished = {(row["case"], row["attack"]) for row in self._cases.rows}
        self._metrics.rows = [row for row in self._metrics.rows if (row["case"], row["attack"]) in finished]

    def finished(self, case: str) -> set[str]:
        """Names of the attacks whose results for a case are complete."""
        return {row["attack"] for row in self._cases.rows if row["case"] == case}

    def volume(self, kind: str, case: str, name: str) -> Path:
        """Path of a volume, whether it is there or not; see :func:`~monai_vafa.results.schema.volume_name`."""
        return self.folder / volume_name(kind, case, name)

    def write_volume(self, kind: str, case: str, name: str, voxels: np.ndarray, affine: np.ndarray) -> None:
        """
        Write a NIfTI file; several channels ``(C, *spatial)`` go to the fourth axis, in 2-D behind a depth of 1.

        Args:
            kind: ``"adversarial"`` or ``"predictions"``.
            case: name of the case.
            name: name of the attack.
            voxels: channel-first.
            affine: 4 x 4, voxel to world (RAS).
        """
        if len(voxels) == 1:
            stored = voxels[0]
        else:
            stored = np.moveaxis(voxels if voxels.ndim == 4 else voxels[..., None], 0, -1)
        image = nib.Nifti1Image(np.ascontiguousarray(stored), affine)
        # Without a time stamp or file name in it, so that the same volume gives the same bytes.
        content = gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)
        write_file(self.volume(kind, case, name), lambda partial: partial.write_bytes(content))

    def add(self, case_row: Mapping[str, Any], metric_rows: Sequence[Mapping[str, Any]]) -> None:
        """Record one attack on one case; its volumes must have been written before."""
        self._metrics.add(metric_rows)
        self._cases.add([case_row])
        self.flush()

    def flush(self, cases: Sequence[str] = (), attacks: Sequence[str] = ()) -> None:
        """Write both tables."""
        for table in (self._metrics, self._cases):
            table.write({"case": cases, "attack": attacks})

    def rows(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Rows of ``cases.csv`` and of ``metrics.csv`` so far."""
        return self._cases.rows, self._metrics.rows

    def write_summary(self, summary: Summary) -> None:
        """Write ``summary.json``."""
        write_json(self.folder / SUMMARY, summary)


def mean_rows(
    cases: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]], attacks: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Mean of each column over the cases, for each attack that has rows: those of summary.json's "means"."""
    result: dict[str, Any] = {}
    for attack in attacks:
        rows = [row for row in cases if row["attack"] == attack]
        per_class = [row for row in metrics if row["attack"] == attack]
        if rows:
            classes = dict.fromkeys(row["class"] for row in per_class)
            result[attack] = {
                **_means(rows, CASE_KEYS),
                "classes": {c: _means([r for r in per_class if r["class"] == c], METRIC_KEYS) for c in classes},
            }
    return result


def _means(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for column in dict.fromkeys(key for row in rows for key in row if key not in keys):
        values = [float(row[column]) for row in rows if row.get(column)]
        means[column] = sum(values) / len(values) if values else None
    return means


def join_parameters(earlier: Mapping[str, Any] | None, now: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """
    Parameters of two runs, between which attacks and cases may come and go but nothing may change.

    Returns:
        this run's parameters followed by the earlier attacks and cases, and what differs, see :func:`differences`.
    """
    if earlier is None:
        return dict(now), []
    joined = json.loads(json.dumps(now))  # as the earlier ones went
    old, new = dict(earlier), dict(joined)
    for part in _GROWING:
        both = [name for name in joined[part] if name in earlier[part]]
        old[part], new[part] = ({name: side[part][name] for name in both} for side in (earlier, joined))
        joined[part] = {**joined[part], **earlier[part]}
    return joined, differences(old, new)


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


def refuse_changes(place: str, changed: Sequence[str], way_out: str) -> None:
    """Refuse to mix results that differ as :func:`differences` says; names the first five and a way out."""
    if changed:
        some = "; ".join(changed[:5]) + ("; ..." if len(changed) > 5 else "")
        raise ValueError(f"{place} holds results of other parameters: {some}. {way_out}")
