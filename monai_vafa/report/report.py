# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Report on the result folder of a run."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from tqdm.auto import tqdm

from .figures import case_figure
from .table import format_tables

__all__ = ["write_report"]

logger = logging.getLogger(__name__)


def write_report(folder: str | os.PathLike) -> None:
    """
    Log the tables of a run and draw a figure per case.

    Figures need matplotlib; without it the run's other results stand, and a warning says what is missing.

    Args:
        folder: result folder of a run.
    """
    root = Path(folder)
    summary = json.loads((root / "summary.json").read_text())
    try:
        for case in tqdm([c for c in summary["cases"] if c not in summary["failed"]], desc="figures", leave=False):
            case_figure(root, case, list(summary["means"]), summary["class_names"], summary["description"])
        where = f"{root / 'figures'}, "
    except ModuleNotFoundError as error:
        logger.warning("no figures: %s; pip install matplotlib", error)
        where = ""
    logger.info("\n\n%s\n\nFigures, volumes and tables: %s%s\n", format_tables(summary), where, root)
