# SPDX-License-Identifier: Apache-2.0
"""
Draws the picture of the README from the result folder of an attack run::

    python docs/demo_picture.py output/vafa_attack docs/images/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from monai_vafa.report.figures import (
    ClassPainter,
    axial_slice,
    load_volume,
    new_figure,
    save_figure,
)
from monai_vafa.results.files import number, read_json, read_rows
from monai_vafa.results.schema import CASES, CLEAN, COLUMNS, LABEL, SUMMARY, volume_name

SLICE_OF = ("pfa", "vafa")  # the case and slice shown are those in which both of these change the prediction most
SHOWN_CHANGE = 32  # intensity levels; larger changes look the same


def changed(root: Path, case: str) -> np.ndarray:
    """For each axial slice, the product of the numbers of voxels whose prediction the two attacks change."""
    clean, *attacked = (load_volume(root / volume_name("predictions", case, row)) for row in (CLEAN, *SLICE_OF))
    return np.prod([(volume != clean).any(axis=-1).sum(axis=(0, 1)) for volume in attacked], axis=0)


def draw(folder: str, path: str) -> None:
    """Draw a slice: a column for the clean image and each attack, below it the prediction and the change."""
    root = Path(folder)
    summary = read_json(root / SUMMARY)
    case = max(summary["cases"], key=lambda name: changed(root, name).max())
    axial, rows = int(changed(root, case).argmax()), list(summary["means"])
    scores = {row["attack"]: row for row in read_rows(root / CASES) if row["case"] == case}
    images = {row: load_volume(root / volume_name("adversarial", case, row))[..., 0] for row in rows}
    answers = {row: load_volume(root / volume_name("predictions", case, row)) for row in (*rows, LABEL)}
    painter = ClassPainter(summary["class_names"], answers[LABEL], summary["activation"])
    low, high = float(images[CLEAN].min()), float(images[CLEAN].max())

    figure = new_figure(1.95 * len(rows) + 0.4, 7.4)
    axes = figure.subplots(3, len(rows))
    gray = {"cmap": "gray", "vmin": low, "vmax": high}
    for column, row in zip(axes.T, rows, strict=True):
        image = axial_slice(images[row], axial)
        change = axial_slice(images[row] - images[CLEAN], axial) * 255 / (high - low)
        column[0].imshow(image, **gray)
        column[1].imshow(image, **gray)
        column[1].imshow(painter.paint(answers[row], axial), interpolation="nearest")
        shown = column[2].imshow(change, cmap="RdBu_r", vmin=-SHOWN_CHANGE, vmax=SHOWN_CHANGE)
        dsc, ssim = (COLUMNS[name].format(number(scores[row][name]) or 0.0) for name in ("dsc", "ssim"))
        column[0].set_title(f"{row}\nDSC {dsc}, SSIM {ssim}", fontsize=9)
    for axis, name in zip(axes[:, 0], ("image", "prediction", "change"), strict=True):
        axis.set_ylabel(name, fontsize=11)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    bar = figure.colorbar(shown, ax=list(axes[2]), shrink=0.8, aspect=12)
    bar.set_label("levels (0-255)", fontsize=9)
    figure.legend(handles=painter.legend(), loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    save_figure(figure, Path(path))


if __name__ == "__main__":
    draw(*sys.argv[1:])
