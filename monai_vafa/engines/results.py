# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of an attack run: what is in it, written so that a run killed at any moment can be finished."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from .describe import differences

__all__ = ["CASE_COLUMNS", "METRIC_COLUMNS", "ResultFolder"]

_PARTIAL = ".partial"
METRIC_COLUMNS = ("case", "attack", "class")
CASE_COLUMNS = ("case", "attack")


class ResultFolder:
    """
    Result files of an attack run::

        metrics.csv       a row per case, attack and class
        cases.csv         a row per case and attack; a row here means that all its other files are complete
        summary.json      parameters, and what the run came to
        adversarial/CASE_ATTACK.nii.gz
        predictions/CASE_ATTACK.nii.gz

    Every file is written beside its place and moved there, so there is no half-written one.

    Args:
        folder: made with the first file.
        parameters: what the results depend on, plain data.
        cases: case name -> image file.

    Raises:
        ValueError: When the folder holds results of other parameters, or of cases with the same names from other
            files; names the first that differ.
    """

    def __init__(self, folder: str | os.PathLike, parameters: Mapping[str, Any], cases: Mapping[str, str]) -> None:
        self.folder = Path(folder)
        summary = self._read_summary()
        if summary:
            earlier = {case: path for case, path in summary["cases"].items() if case in cases}
            changed = differences(earlier, {case: cases[case] for case in earlier}, "cases")
            # Through JSON, as the earlier ones went.
            changed += differences(summary["parameters"], json.loads(json.dumps(parameters)))
            if changed:
                raise ValueError(
                    f"output_dir={os.fspath(folder)!r} holds results of other parameters: {'; '.join(changed[:5])}"
                    f"{'; ...' if len(changed) > 5 else ''}. Choose another output_dir, or remove this one."
                )
        if self.folder.is_dir():
            for stale in self.folder.rglob(f"*{_PARTIAL}"):
                stale.unlink()
        self._cases = self._read("cases.csv")
        finished = {(row["case"], row["attack"]) for row in self._cases}
        self._metrics = [row for row in self._read("metrics.csv") if (row["case"], row["attack"]) in finished]

    def finished(self, case: str) -> set[str]:
        """Names of the attacks whose results for a case are complete."""
        return {row["attack"] for row in self._cases if row["case"] == case}

    def write_volume(self, kind: str, case: str, name: str, voxels: np.ndarray, affine: np.ndarray) -> None:
        """
        Write a NIfTI file ``KIND/CASE_NAME.nii.gz``.

        Args:
            kind: subfolder.
            case: case name.
            name: attack name.
            voxels: channel-first ``(C, *spatial)``; several channels go to the last axis.
            affine: 4 x 4, voxel to world (RAS).
        """
        stored = voxels[0] if voxels.shape[0] == 1 else np.moveaxis(voxels, 0, -1)
        image = nib.Nifti1Image(np.ascontiguousarray(stored), affine)
        # Without a time stamp or file name in it, so that the same volume gives the same bytes.
        self._write(f"{kind}/{case}_{name}.nii.gz", gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))

    def add(self, case_row: Mapping[str, Any], metric_rows: Sequence[Mapping[str, Any]]) -> None:
        """
        Record one attack on one case; its volumes must have been written before.

        Args:
            case_row: row of ``cases.csv``.
            metric_rows: rows of ``metrics.csv``.
        """
        self._metrics += [{key: _cell(value) for key, value in row.items()} for row in metric_rows]
        self._cases.append({key: _cell(value) for key, value in case_row.items()})
        self.flush()

    def flush(self, order: Sequence[str] = ()) -> None:
        """
        Write both tables.

        Args:
            order: case names in the order wanted, for cases that were finished in another one.
        """
        rank = {case: i for i, case in enumerate(order)}
        for rows, name, keys in (
            (self._metrics, "metrics.csv", METRIC_COLUMNS),
            (self._cases, "cases.csv", CASE_COLUMNS),
        ):
            rows.sort(key=lambda row: rank.get(row["case"], 0))
            columns = list(dict.fromkeys([*keys, *(key for row in rows for key in row)]))
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            self._write(name, text.getvalue().encode())

    def rows(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Rows of ``cases.csv`` and of ``metrics.csv`` so far."""
        return self._cases, self._metrics

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        self._write("summary.json", (json.dumps(summary, indent=2) + "\n").encode())

    def _read_summary(self) -> dict[str, Any]:
        path = self.folder / "summary.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def _read(self, name: str) -> list[dict[str, str]]:
        path = self.folder / name
        if not path.is_file():
            return []
        with open(path, newline="") as file:
            return list(csv.DictReader(file))

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}{_PARTIAL}")
        partial.write_bytes(content)
        os.replace(partial, path)


def _cell(value: Any) -> str:
    """A CSV cell; what was not or can't be measured stays empty."""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else str(value)
