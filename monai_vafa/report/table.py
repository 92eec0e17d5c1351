# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables that a run ends with, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["format_tables"]

# column of cases.csv -> header, and how its mean is printed
_COLUMNS = {
    "dsc": ("DSC", lambda v: f"{100 * v:.2f}"),
    "hd95": ("HD95", lambda v: f"{v:.2f}"),
    "lpips": ("100(1-LPIPS)", lambda v: f"{100 * (1 - v):.2f}"),
    "ssim": ("SSIM", lambda v: f"{v:.4f}"),
    "psnr": ("PSNR", lambda v: f"{v:.1f}"),
    "linf": ("L-inf", lambda v: f"{v:.1f}"),
    "rmse": ("RMSE", lambda v: f"{v:.2f}"),
    "changed_voxel_rate": ("changed", lambda v: f"{100 * v:.1f} %"),
}
_ABSENT = "-"


def format_tables(summary: Mapping[str, Any]) -> str:
    """
    Tables of a run: the damage and visibility of each attack, then each class.

    Args:
        summary: content of ``summary.json``.

    Returns:
        text of some lines: DSC in percent (mean over classes, background included, as in the paper), HD95 in voxels,
        100(1-LPIPS) and SSIM higher = more alike, PSNR in dB, L-inf and RMSE in gray values of 255.
    """
    means = summary["means"]
    columns = [key for key in _COLUMNS if any(key in row for row in means.values())]
    damage = [["", *(_COLUMNS[key][0] for key in columns)]]
    damage += [[name, *(_cell(key, row.get(key)) for key in columns)] for name, row in means.items()]
    classes = list(dict.fromkeys(c for row in means.values() for c in row["classes"]))
    per_class = [["DSC / HD95", *means]]
    for cls in classes:
        scores = [row["classes"].get(cls, {}) for row in means.values()]
        per_class.append([cls, *(f"{_cell('dsc', s.get('dsc'))} / {_cell('hd95', s.get('hd95'))}" for s in scores)])
    done, total = len(summary["cases"]) - len(summary["failed"]), len(summary["cases"])
    notes = [f"Mean over {done} of {total} cases. {summary['description']}".rstrip()]
    notes.append("DSC in percent, background included; HD95 in voxels; L-inf and RMSE in gray values of 255.")
    if summary["unmeasured"]:
        notes.append(f"Not measured here, see the warning above: {', '.join(summary['unmeasured'])}.")
    notes += [f"FAILED {case}: {error}" for case, error in summary["failed"].items()]
    return "\n".join([*_align(damage), "", *_align(per_class), "", *notes])


def _cell(column: str, value: float | None) -> str:
    return _ABSENT if value is None else _COLUMNS[column][1](value)


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
