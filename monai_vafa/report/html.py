# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a self-contained HTML page; all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from urllib.parse import quote

from .tables import Table

_STYLE = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
_VERDICTS = {"pass": "pass", "fail": "fail", "not applicable": "skipped"}


def document(title: str, parts: Iterable[str], sections: Mapping[str, Iterable[str]]) -> str:
    """A whole page: its title, parts that are HTML already, and such parts below headings."""
    name = escape(title)
    head = f'<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<title>{name}</title>'
    below = [part for heading, inside in sections.items() for part in (f"<h2>{escape(heading)}</h2>", *inside)]
    body = "\n".join(part for part in (*parts, *below) if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n<style>\n{_STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{name}</h1>\n{body}\n</body>\n</html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of a CSS class; empty when there is no text."""
    return f'<p class="{kind}">{escape(text)}</p>' if text else ""


def definitions(terms: Mapping[str, str]) -> str:
    """A list of names and their meaning; names with the same meaning share an entry."""
    names: dict[str, list[str]] = {}
    for term, text in terms.items():
        names.setdefault(text, []).append(term)
    items = "".join(f"<dt>{escape(', '.join(same))}</dt><dd>{escape(text)}</dd>" for text, same in names.items())
    return f"<dl>{items}</dl>" if items else ""


def image(path: str, text: str) -> str:
    """An image with a link to itself; the path is relative to the page."""
    where = escape(quote(path))
    return f'<p><a href="{where}"><img src="{where}" alt="{escape(text)}" loading="lazy"></a></p>'


def unfold(title: str, part: str, opened: bool) -> str:
    """A part that is shown or hidden on a click."""
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>\n{part}\n</details>"


def tables_html(tables: Iterable[Table]) -> str:
    """Tables with their notes, side by side if there is room; verdicts are coloured, long cells wrapped."""
    return f'<div class="tables">{"".join(map(_table, tables))}</div>'


def _table(table: Table) -> str:
    header, *rows = [_row(row, table.labels, "td" if i else "th") for i, row in enumerate(table.rows)]
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    inside = f"{caption}<thead>{header}</thead><tbody>{''.join(rows)}</tbody>"
    notes = "".join(paragraph(note, "note") for note in table.notes)
    return f'<div class="table"><div class="scroll"><table>{inside}</table></div>{notes}</div>'


def _row(row: Iterable[str], labels: int, tag: str) -> str:
    cells = ""
    for i, text in enumerate(row):
        kinds = ["name", *(["wide"] if len(text) > 60 else [])] if i < labels else []
        kinds += [_VERDICTS[text]] if text in _VERDICTS else []
        cells += f'<{tag} class="{" ".join(kinds)}">{escape(text.strip())}</{tag}>'
    return f"<tr>{cells}</tr>"
