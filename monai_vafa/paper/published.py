# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""
Numbers of the paper: Hanif, Naseer, Khan, Shah, Khan, "Frequency Domain Adversarial Training for Robust Volumetric
Medical Segmentation", MICCAI 2023, https://arxiv.org/abs/2307.07269.

DSC in percent, mean over all classes (background included) and the test volumes of Synapse, in Table 2 of ACDC too;
HD95 in voxels; LPIPS is 100(1-LPIPS), AlexNet, higher = more alike. ``None``: not published.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

Scores = tuple[float, float | None, float | None]  # DSC, HD95, 100(1-LPIPS)

_PAPER = "Published: Hanif et al., MICCAI 2023 (arXiv 2307.07269)"
_SOURCE = f"{_PAPER}, Synapse"
_OTHERS = "other weights, volumes or settings than theirs give other numbers."
# table -> what stands below it
CONDITIONS = {
    "table 1": f"{_SOURCE}, block 32, 20 steps, eps and sigma in intensity levels (0-255); {_OTHERS}",
    "q_max": f"{_SOURCE}, UNETR, block 8, 20 steps; {_OTHERS}",
    "steps": f"{_SOURCE}, UNETR, block 8, q_max 20; {_OTHERS}",
    "block_size": f"{_SOURCE}, UNETR, q_max 20, 20 steps; {_OTHERS}",
    "table 2, synapse": f"{_SOURCE}, eps 4 in intensity levels (0-255), q_max 20, block 32; models trained on clean "
    f"images from its Table 1; {_OTHERS}",
    "table 2, acdc": f"{_PAPER}, ACDC, eps 2 in intensity levels (0-255), q_max 10, block 32; {_OTHERS}",
}

_NUMBERS = json.loads(resources.files(__package__).joinpath("published.json").read_text(encoding="utf-8"))


def _by_value(scores: dict[str, list[float | None]]) -> dict[Any, Any]:
    """Scores by their budget as a number; those of clean images have none."""
    return {json.loads(value) if value else None: tuple(row) for value, row in scores.items()}


# model -> attack -> budget (eps or sigma in levels, q_max) -> scores; clean has none
TABLE_1: dict[str, dict[str, dict[float | None, Scores]]] = {
    model: {attack: _by_value(row) for attack, row in rows.items()} for model, rows in _NUMBERS["table_1"].items()
}
# parameter of VAFA -> its value -> scores; UNETR
SWEEPS: dict[str, dict[float, Scores]] = {name: _by_value(rows) for name, rows in _NUMBERS["sweeps"].items()}
# data set -> parameter -> its value in Table 2
TABLE_2_BUDGETS: dict[str, dict[str, float]] = _NUMBERS["table_2_budgets"]
# data set -> network -> what it was trained against -> attack -> DSC; the rows "clean" are Table 1 at the same budgets
TABLE_2: dict[str, dict[str, dict[str, dict[str, float]]]] = _NUMBERS["table_2"]
