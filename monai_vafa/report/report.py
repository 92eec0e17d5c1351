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

from .figures import case_figures
from .page import bullets, definitions, document, heading, image, paragraph, tables_html
from .table import class_table, damage_table, format_tables, run_notes

__all__ = ["RUN_FILES", "write_report"]

logger = logging.getLogger(__name__)

_NO_BACKGROUND = "Classes may overlap (sigmoid outputs) and none is background: fg is the mean over all classes, too."
RUN_FILES = {
    "cases.csv": "a row per case and attack: means over classes, visibility, cost",
    "metrics.csv": "a row per case, attack and class",
    "summary.json": "means, threat models, every parameter, versions, hash of the checkpoint, failed cases",
    "adversarial/": "attacked images in the units of the input files",
    "predictions/": "class maps, of sigmoid outputs a channel of 0 and 1 per class; CASE_label.nii.gz is the reference",
    "figures/": "a figure per case",
}


def write_report(folder: str | os.PathLike) -> None:
    """
    Log the tables of a run, draw a figure per case, and write it all to ``index.html``.

    Figures need matplotlib; without it the run's other results stand, and a warning says what is missing.

    Args:
        folder: result folder of a run.

    Raises:
        FileNotFoundError: When the folder has no ``summary.json``.
    """
    root = Path(folder)
    if not (summary := read_json(root / "summary.json")):
        raise FileNotFoundError(f"{root / 'summary.json'} does not exist: not the folder of an attack run.")
    drawn: list[str] = []
    try:
        drawn = case_figures(root, summary, list(summary["means"]))
    except ModuleNotFoundError as error:
        logger.warning("no figures: %s; pip install matplotlib", error)
    write_text(root / "index.html", _page(summary, drawn))
    logger.info("\n\n%s\n\nReport: %s\n", format_tables(summary), root / "index.html")


def _page(summary: Mapping[str, Any], drawn: Sequence[str]) -> str:
    means = summary["means"]
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
            definitions(summary["threat_models"]),
            heading("Files"),
            definitions(RUN_FILES),
        ],
    )
