# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Report on the result folder of an attack run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_vafa.results.files import read_json, write_text
from monai_vafa.results.schema import RUN_FILES, SUMMARY

from .figures import can_draw, case_figures
from .html import bullets, definitions, document, heading, image, paragraph, tables_html
from .tables import class_table, damage_table, format_tables, run_notes

logger = logging.getLogger(__name__)

_NO_BACKGROUND = "Classes may overlap (sigmoid outputs) and none is background: fg, too, is the mean over all classes."


def write_report(folder: str | os.PathLike) -> None:
    """
    Log the tables of a run, draw a figure per case, and write everything to ``index.html``.

    Figures need matplotlib; without it a warning says so and the rest is written.

    Args:
        folder: result folder of a run.

    Raises:
        FileNotFoundError: If the folder has no ``summary.json``.
    """
    root = Path(folder)
    if not (summary := read_json(root / SUMMARY)):
        raise FileNotFoundError(f"{root / SUMMARY} does not exist: not the folder of an attack run.")
    drawn = case_figures(root, summary, list(summary["means"])) if can_draw() else []
    write_text(root / "index.html", _page(summary, drawn))
    logger.info("\n\n%s\n\nReport: %s\n", format_tables(summary), root / "index.html")


def _page(summary: Mapping[str, Any], drawn: Sequence[str]) -> str:
    means = summary["means"]
    threats = {name: row["threat_model"] for name, row in summary.get("attacks", {}).items()}
    overlap = [_NO_BACKGROUND] if summary.get("activation") == "sigmoid" else []
    unfinished = "" if summary["status"] == "complete" else f"This run is not complete (status: {summary['status']})."
    return document(
        "Attack on a segmentation model",
        [
            paragraph(summary["description"], "demo"),
            paragraph(unfinished, "warning"),
            heading("Damage and visibility"),
            tables_html([damage_table(means)]),
            bullets([*run_notes(summary), *overlap], "note"),
            heading("Each class"),
            tables_html([class_table(means)]),
            heading("Cases"),
            *(image(f"figures/{case}.png", case) for case in drawn),
            paragraph("" if drawn else "There are no figures; they need matplotlib and finished cases."),
            heading("Threat models"),
            definitions(threats),
            heading("Files"),
            definitions(RUN_FILES),
        ],
    )
