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

Scores = list[float | None]  # DSC, HD95, 100(1-LPIPS)

_NUMBERS = json.loads(resources.files(__package__).joinpath("published.json").read_text(encoding="utf-8"))

# table -> what stands below it
CONDITIONS = {
    table: f"Published: Hanif et al., MICCAI 2023 (arXiv 2307.07269), {settings}; other weights, volumes or settings "
    "than theirs give other numbers."
    for table, settings in _NUMBERS["settings"].items()
}
# model -> attack -> budget as text (eps or sigma in levels, q_max) -> scores; that of clean is empty
TABLE_1: dict[str, dict[str, dict[str, Scores]]] = _NUMBERS["table_1"]
# parameter of VAFA -> its value as text -> scores; UNETR
SWEEPS: dict[str, dict[str, Scores]] = _NUMBERS["sweeps"]
# data set -> parameter -> its value in Table 2
TABLE_2_BUDGETS: dict[str, dict[str, float]] = _NUMBERS["table_2_budgets"]
# data set -> network -> what it was trained against -> attack -> DSC; the rows "clean" are Table 1 at the same budgets
TABLE_2: dict[str, dict[str, dict[str, dict[str, float]]]] = _NUMBERS["table_2"]
