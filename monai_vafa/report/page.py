# SPDX-License-Identifier: Apache-2.0
"""A self-contained HTML page of results, in which all text is escaped, and the same tables in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from monai_vafa.results.files import refuse_links, write_text
from monai_vafa.results.schema import UNITS

from .figures import can_draw, case_figures
from .tables import Section, Table, table_text

logger = logging.getLogger("monai_vafa.report")

_STYLE = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
_VERDICTS = {"pass": "pass", "fail": "fail", "not applicable": "skipped"}


def publish(
    root: Path,
    *,
    title: str,
    description: str,
    doubts: Sequence[str],
    sections: Sequence[Section],
    runs: Mapping[str, Mapping[str, Any]],
    threats: Mapping[str, str],
    files: Mapping[str, str],
) -> None:
    """Draw figures, write ``index.html`` and log the tables; ``runs``: folders below the root -> their summaries."""
    for folder in ("", *runs):
        refuse_links(root / folder)
    parts = [_paragraph(description, "demo"), *(_paragraph(doubt, "warning") for doubt in doubts)]
    drawing = can_draw()
    for section in sections:
        path = section.draw() if drawing and section.draw is not None else None
        if path or section.tables:
            parts.append(_heading(section.title))
        if path:
            parts += [_image(path.relative_to(root), section.title), _paragraph(section.note, "note")]
        if section.tables:  # side by side if there is room
            parts.append(f'<div class="tables">{"".join(map(_table, section.tables))}</div>')
    parts += [_heading("Units"), _paragraph(UNITS, "note"), *([_heading("Cases")] if runs else [])]
    for folder, summary in runs.items() if drawing else ():
        for case, path in case_figures(root / folder, summary).items():
            name = f"{folder}: {case}" if folder else case
            inside = f"<summary>{escape(name)}</summary>\n{_image(path.relative_to(root), name)}"
            parts.append(f"<details{'' if folder else ' open'}>{inside}</details>")
    if runs and not parts[-1].startswith("<details"):
        parts.append(_paragraph("There are no figures; they need matplotlib and volumes of finished cases."))
    parts += [_heading("Threat models"), _definitions(threats), _heading("Files"), _definitions(files)]
    name, body = escape(title), "\n".join(filter(None, parts))
    head = f'<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<title>{name}</title>'
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n<style>\n{_STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{name}</h1>\n{body}\n</body>\n</html>\n"
    )
    write_text(root / "index.html", page)
    texts = [text for s in sections if s.tables for text in (s.title.upper(), *map(table_text, s.tables))]
    end = "\n".join([UNITS, description, *(f"WARNING: {doubt}" for doubt in doubts)])
    logger.info("\n\n%s\n\nReport: %s\n", "\n\n".join([*texts, end]), root / "index.html")


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _paragraph(text: str, kind: str = "") -> str:
    """A paragraph of a CSS class; empty when there is no text."""
    return f'<p class="{kind}">{escape(text)}</p>' if text else ""


def _definitions(terms: Mapping[str, str]) -> str:
    """A list of names and their meaning; names with the same meaning share an entry."""
    names: dict[str, list[str]] = {}
    for term, text in terms.items():
        names.setdefault(text, []).append(term)
    items = "".join(f"<dt>{escape(', '.join(same))}</dt><dd>{escape(text)}</dd>" for text, same in names.items())
    return f"<dl>{items}</dl>" if items else ""


def _image(path: Path, text: str) -> str:
    """An image with a link to itself; the path is relative to the page."""
    where = escape(quote(path.as_posix()))
    return f'<p><a href="{where}"><img src="{where}" alt="{escape(text)}" loading="lazy"></a></p>'


def _table(table: Table) -> str:
    """A table with its notes; verdicts are coloured, long cells wrapped."""
    header, *rows = [_row(row, table.labels, "td" if i else "th") for i, row in enumerate(table.rows)]
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    inside = f"{caption}<thead>{header}</thead><tbody>{''.join(rows)}</tbody>"
    notes = "".join(_paragraph(note, "note") for note in table.notes)
    return f'<div class="table"><div class="scroll"><table>{inside}</table></div>{notes}</div>'


def _row(row: Iterable[str], labels: int, tag: str) -> str:
    cells = ""
    for i, text in enumerate(row):
        kinds = ["name", *(["wide"] if len(text) > 60 else [])] if i < labels else []
        kinds += [_VERDICTS[text]] if text in _VERDICTS else []
        cells += f'<{tag} class="{" ".join(kinds)}">{escape(text.strip())}</{tag}>'
    return f"<tr>{cells}</tr>"
