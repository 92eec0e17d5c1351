# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""
Draws the picture of the README from the result folder of an attack run::

    python docs/demo_picture.py output/vafa_attack docs/images/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from monai_vafa.report.figures import (
    ClassPainter,
    axial_slice,
    load_volume,
    most_changed_slice,
    new_figure,
    save_figure,
)
from monai_vafa.results.files import number, read_json, read_rows
from monai_vafa.results.schema import CASES, COLUMNS, LABEL, SUMMARY, volume_name

SHOWN_CHANGE = 32  # intensity levels; larger changes look the same


def draw(folder: str, path: str) -> None:
    """Draw the first case: a column for the clean image and each attack, below it the prediction and the change."""
    root = Path(folder)
    summary = read_json(root / SUMMARY)
    case, rows = next(iter(summary["cases"])), list(summary["means"])
    scores = {row["attack"]: row for row in read_rows(root / CASES) if row["case"] == case}
    images = {row: load_volume(root / volume_name("adversarial", case, row))[..., 0] for row in rows}
    answers = {row: load_volume(root / volume_name("predictions", case, row)) for row in (*rows, LABEL)}
    clean = rows[0]
    axial = most_changed_slice(answers[LABEL], answers[clean], [answers[row] for row in rows[1:]])
    painter = ClassPainter(summary["class_names"], answers[LABEL], summary["activation"])
    low, high = float(images[clean].min()), float(images[clean].max())

    figure = new_figure(1.95 * len(rows) + 0.4, 7.4)
    axes = figure.subplots(3, len(rows))
    gray = {"cmap": "gray", "vmin": low, "vmax": high}
    for column, row in zip(axes.T, rows, strict=True):
        image = axial_slice(images[row], axial)
        change = axial_slice(images[row] - images[clean], axial) * 255 / (high - low)
        column[0].imshow(image, **gray)
        column[1].imshow(image, **gray)
        column[1].imshow(painter.paint(answers[row], axial), interpolation="nearest")
        shown = column[2].imshow(change, cmap="RdBu_r", vmin=-SHOWN_CHANGE, vmax=SHOWN_CHANGE)
        dsc, ssim = (COLUMNS[name].format(number(scores[row][name]) or 0.0) for name in ("dsc", "ssim"))
        column[0].set_title(f"{row}\nDSC {dsc}, SSIM {ssim}", fontsize=10)
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
