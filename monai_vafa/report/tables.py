# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of results, as text and as cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monai_vafa.results.schema import COLUMNS, UNITS, Column

_ABSENT = "-"
_NO_SCORES = ("model", "case", "attack", "group", "steps", "seconds", "classes", "undefined")


@dataclass(frozen=True)
class Table:
    """A table as text or HTML; ``rows`` of text, the header first, whose first ``labels`` columns name the row."""

    title: str
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    labels: int = 1


def cell(column: str, value: float | None) -> str:
    """A value of a column of ``cases.csv`` as it is printed; ``-`` for ``None``."""
    return _ABSENT if value is None else COLUMNS.get(column, Column(column, 4)).format(value)


def score_columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Columns with scores that any row has: the known ones in their order, then metrics that somebody added."""
    present = dict.fromkeys(key for row in rows for key in row)
    return [key for key in COLUMNS if key in present] + [key for key in present if key not in {*COLUMNS, *_NO_SCORES}]


def damage_table(means: Mapping[str, Mapping[str, Any]], title: str = "") -> Table:
    """Damage and visibility of each attack, from attack -> column -> mean; columns that no row has are left out."""
    columns = score_columns(means.values())
    header = ["", *(COLUMNS.get(key, Column(key, 4)).header for key in columns)]
    return Table(title, [header, *([name, *(cell(k, row.get(k)) for k in columns)] for name, row in means.items())])


def class_table(means: Mapping[str, Mapping[str, Any]], title: str = "") -> Table:
    """DSC and HD95 of each class under each attack, from attack -> "classes" -> class -> column -> mean."""
    classes = list(dict.fromkeys(c for row in means.values() for c in row.get("classes", {})))
    rows = [["DSC / HD95", *classes]]
    for attack, row in means.items():
        scores = [row.get("classes", {}).get(cls, {}) for cls in classes]
        rows.append([attack, *(f"{cell('dsc', s.get('dsc'))} / {cell('hd95', s.get('hd95'))}" for s in scores)])
    return Table(title, rows)


def run_notes(summary: Mapping[str, Any]) -> list[str]:
    """Notes below the tables of a run, from its ``summary.json``: cases, units, what is missing, what failed."""
    done, total = len(summary["cases"]) - len(summary["failed"]), len(summary["cases"])
    notes = [f"Mean over {done} of {total} cases. {summary['description']}".rstrip()]
    notes.append(UNITS)
    if summary["unmeasured"]:
        notes.append(f"Not measured here (the log says why): {', '.join(summary['unmeasured'])}.")
    notes += undefined_notes(summary["means"])
    return notes + [f"FAILED {case}: {error}" for case, error in summary["failed"].items()]


def undefined_notes(means: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Means that are not over all cases, since a value is undefined for some."""
    return [
        f"{column} under {attack} is undefined for {count} cases; its mean is over the others."
        for attack, row in means.items()
        for column, count in row.get("undefined", {}).items()
    ]


def format_tables(summary: Mapping[str, Any]) -> str:
    """
    Tables of a run as text: damage and visibility of each attack, then each class.

    Args:
        summary: content of ``summary.json``.

    Returns:
        several lines: DSC and NSD in percent (mean over classes, background included, as in the paper), HD95 in
        voxels, 100(1-LPIPS) and SSIM (higher = more alike), PSNR in dB, L-inf and RMSE in intensity levels (0-255
        scale).
    """
    tables = table_text(damage_table(summary["means"])), table_text(class_table(summary["means"]))
    return "\n\n".join([*tables, "\n".join(run_notes(summary))])


def table_text(table: Table) -> str:
    """A table as aligned text."""
    widths = [max(map(len, column)) for column in zip(*table.rows, strict=True)]
    lines = ["  ".join(_aligned(row, widths, table.labels)).rstrip() for row in table.rows]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([*([table.title] if table.title else []), lines[0], rule, *lines[1:], *table.notes])


def _aligned(row: Sequence[str], widths: Sequence[int], labels: int) -> list[str]:
    pairs = list(zip(row, widths, strict=True))
    return [text.ljust(width) for text, width in pairs[:labels]] + [text.rjust(width) for text, width in pairs[labels:]]
