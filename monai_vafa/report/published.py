# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""
Numbers of the paper: Hanif, Naseer, Khan, Shah, Khan, "Frequency Domain Adversarial Training for Robust Volumetric
Medical Segmentation", MICCAI 2023, https://arxiv.org/abs/2307.07269.

DSC in percent, mean over all classes (background included) and the test volumes of Synapse; HD95 in voxels; LPIPS is
100(1-LPIPS), AlexNet, higher = more alike. ``None`` was not published.
"""

from __future__ import annotations

__all__ = ["CONDITIONS", "SWEEPS", "TABLE_1", "Scores"]

Scores = tuple[float, float | None, float | None]  # DSC, HD95, 100(1-LPIPS)

_SOURCE = "Published: Hanif et al., MICCAI 2023 (arXiv 2307.07269), Synapse"
_OTHERS = "other weights, volumes or settings than theirs give other numbers."
# table -> what stands below it
CONDITIONS = {
    "table 1": f"{_SOURCE}, block 32, 20 steps, eps and sigma in gray values of 255; {_OTHERS}",
    "q_max": f"{_SOURCE}, UNETR, block 8, 20 steps; {_OTHERS}",
    "steps": f"{_SOURCE}, UNETR, block 8, q_max 20; {_OTHERS}",
    "block_size": f"{_SOURCE}, UNETR, q_max 20, 20 steps; {_OTHERS}",
}

# model -> attack -> budget (eps or sigma of 255, q_max) -> scores; clean has none
TABLE_1: dict[str, dict[str, dict[float | None, Scores]]] = {
    "unetr": {
        "clean": {None: (74.3, 14.0, None)},
        "pgd": {4: (62.7, 40.4, 98.9), 8: (50.8, 64.5, 95.3)},
        "fgsm": {4: (62.8, 34.8, 98.8), 8: (53.9, 48.7, 94.7)},
        "bim": {4: (62.8, 39.9, 98.8), 8: (50.7, 65.8, 95.3)},
        "gn": {4: (74.2, 17.0, 97.7), 8: (73.9, 15.4, 91.1)},
        "vafa": {20: (32.2, 57.6, 97.5), 30: (29.8, 59.9, 96.9)},
    },
    "unetrpp": {
        "clean": {None: (84.7, 12.7, None)},
        "pgd": {4: (77.5, 48.1, 95.7), 8: (67.1, 78.3, 85.1)},
        "fgsm": {4: (73.1, 37.3, 94.7), 8: (67.1, 43.2, 82.2)},
        "bim": {4: (77.3, 46.6, 95.8), 8: (66.8, 78.1, 85.3)},
        "gn": {4: (84.7, 12.3, 93.3), 8: (84.3, 13.4, 78.2)},
        "vafa": {20: (45.3, 73.9, 94.2), 30: (39.3, 85.2, 94.7)},
    },
}

# parameter of VAFA -> its value -> scores; UNETR
SWEEPS: dict[str, dict[float, Scores]] = {
    "q_max": {
        10: (65.95, None, 99.10),
        20: (56.24, None, 98.70),
        30: (50.96, None, 98.33),
        40: (49.58, None, 97.90),
        60: (48.83, None, 96.60),
        80: (48.76, None, 94.50),
    },
    "steps": {
        10: (61.33, None, 98.85),
        20: (56.24, None, 98.70),
        30: (54.37, None, 98.64),
        40: (53.31, None, 98.59),
        50: (52.97, None, 98.54),
        60: (52.25, None, 98.52),
    },
    "block_size": {
        4: (63.48, None, 98.90),
        8: (56.24, None, 98.70),
        16: (41.30, None, 98.14),
        32: (32.40, None, 97.49),
        48: (28.19, None, 97.16),
        96: (28.08, None, 96.47),
    },
}
