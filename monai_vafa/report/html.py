# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a self-contained HTML page; all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import quote

from .tables import Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.7em; margin-bottom: .2em; } h2 { font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid #ccc; }
.demo { background: #f4f4f0; border-left: 4px solid #888; padding: .5em 1em; }
.warning { background: #fdf0e6; border-left: 4px solid #c60; padding: .5em 1em; }
.tables { display: flex; flex-wrap: wrap; gap: 0 3em; } .table { max-width: 100%; margin: .6em 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap; }
caption { text-align: left; font-weight: 600; padding: .3em 0; }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #e4e4e4; }
th { border-bottom: 2px solid #999; } th.name, td.name { text-align: left; }
td.wide { white-space: normal; text-align: left; min-width: 20em; }
tr:hover td { background: #f6f8fb; }
.note { font-size: 13px; color: #555; margin: .2em 0; }
.table .note { width: 0; min-width: 100%; }
.pass { color: #1a7f37; font-weight: 600; } .fail { color: #c0260c; font-weight: 600; } .skipped { color: #777; }
img { max-width: 100%; height: auto; } dt { font-weight: 600; } dd { margin: 0 0 .4em 1.5em; }
summary { cursor: pointer; font-weight: 600; margin: .6em 0; }
"""
_VERDICTS = {"pass": "pass", "fail": "fail", "not applicable": "skipped"}


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page of parts that are HTML already; its title is also its first heading."""
    name = escape(title)
    head = f'<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<title>{name}</title>'
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{name}</h1>\n{body}\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """A heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of a CSS class; empty when there is no text."""
    return f'<p class="{kind}">{escape(text)}</p>' if text else ""


def bullets(lines: Iterable[str], kind: str = "") -> str:
    """A list; empty when there are no lines."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


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


def unfold(title: str, parts: Sequence[str]) -> str:
    """Parts that are shown on a click."""
    inside = "\n".join(parts)
    return f"<details><summary>{escape(title)}</summary>\n{inside}\n</details>"


def tables_html(tables: Iterable[Table]) -> str:
    """Tables with their notes, side by side if there is room; verdicts are coloured, long cells wrapped."""
    inside = "\n".join(map(_table, tables))
    return f'<div class="tables">{inside}</div>' if inside else ""


def _table(table: Table) -> str:
    header, *rows = [_row(row, table.labels, "td" if i else "th") for i, row in enumerate(table.rows)]
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    inside = f"{caption}<thead>{header}</thead><tbody>{''.join(rows)}</tbody>"
    notes = "".join(paragraph(note, "note") for note in table.notes)
    return f'<div class="table"><div class="scroll"><table>{inside}</table></div>{notes}</div>'


def _row(cells: Sequence[str], labels: int, tag: str) -> str:
    return "<tr>" + "".join(_cell(text, i < labels, tag) for i, text in enumerate(cells)) + "</tr>"


def _cell(text: str, label: bool, tag: str) -> str:
    kinds = ["name"] if label else []
    if label and len(text) > 60:
        kinds.append("wide")
    kinds += [_VERDICTS[text]] if text in _VERDICTS else []
    return f'<{tag} class="{" ".join(kinds)}">{escape(text.strip())}</{tag}>'
