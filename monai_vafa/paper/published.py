# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""
Numbers of the paper: Hanif, Naseer, Khan, Shah, Khan, "Frequency Domain Adversarial Training for Robust Volumetric
Medical Segmentation", MICCAI 2023, https://arxiv.org/abs/2307.07269.

DSC in percent, mean over all classes (background included) and the test volumes of Synapse, in Table 2 of ACDC too;
HD95 in voxels; LPIPS is 100(1-LPIPS), AlexNet, higher = more alike. ``None``: not published.
"""

from __future__ import annotations

__all__ = ["CONDITIONS", "SWEEPS", "TABLE_1", "TABLE_2", "TABLE_2_BUDGETS", "Scores"]

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


def _row(*dsc: float) -> dict[str, float]:
    return dict(zip(("clean", "pgd", "fgsm", "bim", "vafa"), dsc, strict=True))


# data set -> parameter -> its value in Table 2
TABLE_2_BUDGETS: dict[str, dict[str, float]] = {"synapse": {"eps": 4, "q_max": 20}, "acdc": {"eps": 2, "q_max": 10}}

# data set -> network -> what it was trained against -> attack -> DSC; the rows "clean" are Table 1 at the same budgets
TABLE_2: dict[str, dict[str, dict[str, dict[str, float]]]] = {
    "synapse": {
        "unetr": {
            "clean": _row(74.3, 62.7, 62.8, 62.8, 32.2),
            "gn": _row(73.17, 61.40, 61.77, 61.29, 30.00),
            "fgsm": _row(72.44, 64.80, 66.31, 64.76, 39.02),
            "bim": _row(75.12, 67.78, 68.32, 67.78, 45.97),
            "pgd": _row(73.47, 65.53, 65.68, 65.51, 42.47),
            "vafa": _row(74.67, 64.83, 65.49, 64.73, 66.31),
            "vafa_fr": _row(75.66, 65.90, 66.79, 65.83, 66.33),
        },
        "unetrpp": {
            "clean": _row(84.7, 77.5, 73.1, 77.3, 45.3),
            "gn": _row(80.05, 76.23, 70.96, 74.51, 41.44),
            "fgsm": _row(81.06, 73.84, 74.76, 73.77, 37.48),
            "bim": _row(74.80, 67.58, 67.46, 67.57, 35.72),
            "pgd": _row(75.43, 67.81, 67.82, 67.80, 38.22),
            "vafa": _row(81.88, 69.09, 65.40, 68.90, 76.47),
            "vafa_fr": _row(82.65, 70.61, 67.00, 70.41, 78.19),
        },
    },
    "acdc": {
        "unetr": {
            "vafa": _row(81.95, 60.77, 68.16, 60.75, 69.76),
            "vafa_fr": _row(83.44, 60.63, 69.33, 60.61, 73.05),
        },
        "unetrpp": {
            "vafa": _row(89.00, 76.28, 80.41, 76.56, 88.45),
            "vafa_fr": _row(91.36, 85.42, 87.42, 83.90, 91.23),
        },
    },
}
