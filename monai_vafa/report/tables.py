# SPDX-License-Identifier: Apache-2.0
"""Tables of results, as text and as cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_vafa.results.schema import CLEAN, COLUMNS, LOST_GRADIENTS, UNITS, Column

_NO_SCORES = ("model", "case", "attack", "group", "steps", "seconds", "classes", "undefined", *LOST_GRADIENTS)


@dataclass(frozen=True)
class Table:
    """A table as text or HTML; ``rows`` of text, the header first, whose first ``labels`` columns name the row."""

    title: str
    rows: list[list[str]]
    notes: Sequence[str] = ()
    labels: int = 1


@dataclass(frozen=True)
class Section:
    """A part of the report; left out if it has no tables and no figure."""

    title: str  # its heading
    tables: Sequence[Table]  # what the log and the page show
    draw: Callable[[], Path | None] | None = None  # writes a figure for the top and returns its path, if there is one
    note: str = ""  # what the page says below the figure


def cell(column: str, value: float | None) -> str:
    """A value of a column of ``cases.csv`` as it is printed; ``-`` for ``None``."""
    return "-" if value is None else _column(column).format(value)


def score_columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Columns with scores that any row has: the known ones in their order, then metrics that somebody added."""
    present = dict.fromkeys(key for row in rows for key in row)
    return [key for key in COLUMNS if key in present] + [key for key in present if key not in {*COLUMNS, *_NO_SCORES}]


def cell_with_interval(column: str, value: float | None, interval: Sequence[float] | None) -> str:
    """A mean and half the width of its interval, such as "62.70 ± 1.9"."""
    if value is None or interval is None:
        return cell(column, value)
    half = abs(_column(column).scale) * (interval[1] - interval[0]) / 2
    return f"{cell(column, value)} ± {half:.1f}"


def damage_table(
    means: Mapping[str, Mapping[str, Any]],
    title: str = "",
    notes: Sequence[str] = (),
    statistics: Mapping[str, Any] | None = None,
) -> Table:
    """Damage and visibility of each attack, from attack -> column -> mean, with intervals if there are statistics."""
    columns, rows = score_columns(means.values()), []
    for name, row in means.items():
        bounds = statistics["rows"].get(name, {}).get("intervals", {}) if statistics else {}
        rows.append([name, *(cell_with_interval(column, row.get(column), bounds.get(column)) for column in columns)])
    return Table(title, [["", *(_column(column).header for column in columns)], *rows], notes)


def class_table(means: Mapping[str, Mapping[str, Any]], title: str = "") -> Table:
    """DSC and HD95 of each class under each attack, from attack -> "classes" -> class -> column -> mean."""
    classes = list(dict.fromkeys(c for row in means.values() for c in row.get("classes", {})))
    rows = [["DSC / HD95", *classes]]
    for attack, row in means.items():
        scores = [row.get("classes", {}).get(cls, {}) for cls in classes]
        rows.append([attack, *(f"{cell('dsc', s.get('dsc'))} / {cell('hd95', s.get('hd95'))}" for s in scores)])
    return Table(title, rows)


def run_notes(summary: Mapping[str, Any], cases: Iterable[Mapping[str, str]]) -> list[str]:
    """What to know of the means of a run: over which cases they are, what is missing, undefined or failed."""
    failed = [f"FAILED {case}: {error}" for case, error in summary.get("failed", {}).items()]
    if not summary.get("means"):
        return [*failed, "No results: this model failed, or has not been run yet."]
    notes = [f"Mean over {len(summary['cases']) - len(failed)} of {len(summary['cases'])} cases.", *failed]
    scored = [(row["attack"], row["case"]) for row in cases if row.get("dsc")]
    covered = {name: {case for attack, case in scored if attack == name} for name in (CLEAN, *summary["attacks"])}
    if other := [f"{name} ({len(those)})" for name, those in covered.items() if those != covered[CLEAN]]:
        notes.append(f"Not over the same {len(covered[CLEAN])} cases as {CLEAN}: {', '.join(other)}.")
    if summary["unmeasured"]:
        notes.append(f"Not measured here (the log says why): {', '.join(summary['unmeasured'])}.")
    if summary.get("activation") == "sigmoid":
        notes.append("Classes may overlap and none is background: fg, too, is the mean over all classes.")
    return notes + [
        f"{column} under {attack} is undefined for {count} cases; its mean is over the others."
        for attack, row in summary["means"].items()
        for column, count in row.get("undefined", {}).items()
        if column not in LOST_GRADIENTS
    ]


def format_tables(summary: Mapping[str, Any]) -> str:
    """Tables of a run as text, from its ``summary.json``: damage and visibility of each attack, classes, and units."""
    damage = damage_table(summary["means"], "", run_notes(summary, ()), summary.get("statistics"))
    return "\n\n".join([table_text(damage), table_text(class_table(summary["means"])), UNITS, summary["description"]])


def table_text(table: Table) -> str:
    """A table as aligned text."""
    widths = [max(map(len, column)) for column in zip(*table.rows, strict=True)]
    sides = [f"{'<' if i < table.labels else '>'}{width}" for i, width in enumerate(widths)]
    lines = ["  ".join(map(format, row, sides)).rstrip() for row in table.rows]
    lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join([*([table.title] if table.title else []), *lines, *table.notes])


def _column(name: str) -> Column:
    """How a column is shown; metrics that somebody added have four decimals."""
    return COLUMNS.get(name, Column(name, 4))
