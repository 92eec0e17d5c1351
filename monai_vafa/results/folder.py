# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of an attack run: what is in it, written so that a run killed at any moment can be finished."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_vafa.results.files import CsvTable, read_json, remove_partial_files, write_file, write_json

from .describe import differences

__all__ = ["CASE_COLUMNS", "METRIC_COLUMNS", "ResultFolder", "join_parameters", "refuse_changes"]

METRIC_COLUMNS = ("case", "attack", "class")
CASE_COLUMNS = ("case", "attack")
_GROWING = ("attacks", "cases")


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
        parameters: what the results depend on, plain data, see :func:`join_parameters`.

    Attributes:
        parameters: those given, with the attacks and cases of earlier runs, whose rows are still there.

    Raises:
        ValueError: When the folder holds results of other parameters, or of cases with the same names from other
            files; names the first that differ.
    """

    def __init__(self, folder: str | os.PathLike, parameters: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        summary = read_json(self.folder / "summary.json")
        self.parameters, changed = join_parameters(summary.get("parameters"), parameters)
        refuse_changes(f"output_dir={os.fspath(folder)!r}", changed, "Choose another output_dir, or remove this one.")
        remove_partial_files(self.folder)
        self._cases = CsvTable(self.folder / "cases.csv", CASE_COLUMNS)
        self._metrics = CsvTable(self.folder / "metrics.csv", METRIC_COLUMNS)
        finished = {(row["case"], row["attack"]) for row in self._cases.rows}
        self._metrics.rows = [row for row in self._metrics.rows if (row["case"], row["attack"]) in finished]

    def finished(self, case: str) -> set[str]:
        """Names of the attacks whose results for a case are complete."""
        return {row["attack"] for row in self._cases.rows if row["case"] == case}

    def volume(self, kind: str, case: str, name: str) -> Path:
        """
        Path of a NIfTI file ``KIND/CASE_NAME.nii.gz``, whether it is there or not.

        Args:
            kind: subfolder.
            case: case name.
            name: attack name.
        """
        return self.folder / kind / f"{case}_{name}.nii.gz"

    def write_volume(self, kind: str, case: str, name: str, voxels: np.ndarray, affine: np.ndarray) -> None:
        """
        Write a NIfTI file, see :meth:`volume`.

        Args:
            kind: subfolder.
            case: case name.
            name: attack name.
            voxels: channel-first ``(C, H, W, D)`` or ``(C, H, W)``; several channels go to the last axis, the fourth,
                in 2-D behind a depth of 1.
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
        """
        Record one attack on one case; its volumes must have been written before.

        Args:
            case_row: row of ``cases.csv``.
            metric_rows: rows of ``metrics.csv``.
        """
        self._metrics.add(metric_rows)
        self._cases.add([case_row])
        self.flush()

    def flush(self, cases: Sequence[str] = (), attacks: Sequence[str] = ()) -> None:
        """
        Write both tables.

        Args:
            cases: case names in the order wanted, for cases that were finished in another one.
            attacks: attack names in the order wanted.
        """
        for table in (self._metrics, self._cases):
            table.write({"case": cases, "attack": attacks})

    def rows(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Rows of ``cases.csv`` and of ``metrics.csv`` so far."""
        return self._cases.rows, self._metrics.rows

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_json(self.folder / "summary.json", summary)


def join_parameters(earlier: Mapping[str, Any] | None, now: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """
    Parameters of the results of two runs, between which attacks and cases may come and go but nothing may change.

    Args:
        earlier: parameters as read from a file; ``None`` for the first run.
        now: parameters of this run; under ``"attacks"`` what each was built with, under ``"cases"`` the image file
            of each.

    Returns:
        this run's parameters with the earlier attacks and cases behind, and what differs, see :func:`differences`.
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


def refuse_changes(place: str, changed: Sequence[str], way_out: str) -> None:
    """
    Refuse to mix results.

    Args:
        place: where the earlier results are.
        changed: what differs between these and this run's, see :func:`differences`.
        way_out: what the user can do.

    Raises:
        ValueError: When something differs; names the first five.
    """
    if changed:
        some = "; ".join(changed[:5]) + ("; ..." if len(changed) > 5 else "")
        raise ValueError(f"{place} holds results of other parameters: {some}. {way_out}")
