# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""A picture of each case: what was attacked, what the network then said."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from tqdm.auto import tqdm

from monai_vafa.results.files import write_file

__all__ = ["case_figure", "case_figures", "figure_rows"]

_DPI = 110
_MOST_ROWS = 7  # a figure with more is too tall to look at
_KEPT_CONTROLS = ("quantize_only", "gn")


def case_figures(folder: str | os.PathLike, summary: Mapping[str, Any], attacks: Sequence[str]) -> list[str]:
    """
    Draw every case that has volumes (see :func:`case_figure`).

    Args:
        folder: result folder of a run.
        summary: content of its ``summary.json``.
        attacks: names of the rows that may be drawn, the clean one first; :func:`figure_rows` chooses.

    Returns:
        names of the cases drawn.

    Raises:
        ModuleNotFoundError: When matplotlib is missing.
    """
    drawn = []
    for case in tqdm([c for c in summary["cases"] if c not in summary["failed"]], desc="figures", leave=False):
        stored = [a for a in attacks if all((Path(folder) / kind).is_file() for kind in _volumes(case, a))]
        if stored[:1] == attacks[:1] and (Path(folder) / "predictions" / f"{case}_label.nii.gz").is_file():
            rows = figure_rows(summary["means"], stored)
            activation = summary.get("activation", "softmax")  # earlier versions knew no other
            case_figure(folder, case, rows, summary["class_names"], summary["description"], activation=activation)
            drawn.append(case)
    return drawn


def figure_rows(means: Mapping[str, Mapping[str, Any]], attacks: Sequence[str]) -> list[str]:
    """
    Which rows to draw: all when they are few, else clean, two controls, and the strongest attacks.

    Args:
        means: attack -> column -> mean.
        attacks: names of the rows, the clean one first.

    Returns:
        at most seven names; of a choice, the attack with the lowest mean DSC comes last, since that one chooses the
        slice.
    """
    if len(attacks) <= _MOST_ROWS:
        return list(attacks)
    clean, *others = attacks
    controls = [name for name in _KEPT_CONTROLS if name in others]
    scores = {name: means[name].get("dsc") for name in others if name not in controls}
    ranked = sorted(scores, key=lambda name: 1.0 if (dsc := scores[name]) is None else float(dsc), reverse=True)
    return [clean, *controls, *ranked[-(_MOST_ROWS - 1 - len(controls)) :]]


def case_figure(
    folder: str | os.PathLike,
    case: str,
    attacks: Sequence[str],
    class_names: Sequence[str],
    title: str = "",
    *,
    activation: str = "softmax",
) -> Path:
    """
    Draw one case like Fig. 2 of the paper: a row for the clean image and each attack.

    Shown are the image, the network's prediction over it, and the change to the image (in its own units); in the
    clean row, the reference labels. The axial slice is the one in which the last attack changes the prediction of
    the most voxels, among the slices with at least half as many labelled voxels as the fullest one: the attack at
    its best, not on average, but where there is something to see. A 2-D image has no slices to choose from. Where
    classes may overlap, the smaller one (in the reference labels) is painted over the larger.

    Args:
        folder: result folder of a run.
        case: case name.
        attacks: names of the rows, the clean one first.
        class_names: names for the legend, for softmax background first.
        title: line on top, for example what the data are.
        activation: ``"softmax"``, or ``"sigmoid"`` where predictions have a channel of 0 and 1 for each class.

    Returns:
        path of the PNG, ``figures/CASE.png`` in the folder.

    Raises:
        ModuleNotFoundError: When matplotlib is missing.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    root = Path(folder)
    # of several channels the first is shown
    images = {a: _load(root / "adversarial" / f"{case}_{a}.nii.gz")[..., 0] for a in attacks}
    channels = {a: _load(root / "predictions" / f"{case}_{a}.nii.gz") for a in (*attacks, "label")}
    clean, last = attacks[0], attacks[-1]
    filled = channels["label"].any(axis=-1).sum(axis=(0, 1))
    changed = (channels[last] != channels[clean]).any(axis=-1).sum(axis=(0, 1))
    labels = {name: volume[..., 0] for name, volume in channels.items()}
    if activation == "sigmoid":
        order = channels["label"].sum(axis=(0, 1, 2), dtype=int).argsort()[::-1]
        labels = {name: _painted(volume, order) for name, volume in channels.items()}
        class_names = ["", *class_names]
    axial = int(np.where(filled >= filled.max() / 2, changed, -1).argmax())
    low, high = float(images[clean].min()), float(images[clean].max())
    limit = max(max(float(np.abs(_cut(images[a] - images[clean], axial)).max()) for a in attacks), 1e-6)
    # background is left clear
    palette = colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    colors = [palette(i % palette.N) for i in range(len(class_names))]

    figure = Figure(figsize=(9.6, 2.9 * len(attacks) + 0.8), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(attacks), 3, squeeze=False)
    for row, name in zip(axes, attacks, strict=True):
        image = _cut(images[name], axial)
        gray: dict[str, Any] = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "nearest"}
        row[0].imshow(image, **gray)
        row[1].imshow(image, **gray)
        row[1].imshow(_overlay(_cut(labels[name], axial), colors), interpolation="nearest")
        row[0].set_ylabel(name, fontsize=11)
        if name == clean:
            row[0].set_title("image")
            row[1].set_title("prediction")
            row[2].set_title("reference labels")
            row[2].imshow(image, **gray)
            row[2].imshow(_overlay(_cut(labels["label"], axial), colors), interpolation="nearest")
        else:
            change = _cut(images[name] - images[clean], axial)
            shown = row[2].imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            if name == attacks[1]:
                row[2].set_title("change of the image")
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    if len(attacks) > 1:
        figure.colorbar(shown, ax=list(axes[:, 2]), shrink=0.6, aspect=40, location="right")
    present = sorted({int(c) for volume in labels.values() for c in np.unique(_cut(volume, axial))} - {0})
    patches = [Patch(color=colors[c], label=class_names[c]) for c in present if c < len(class_names)]
    if patches:
        figure.legend(handles=patches, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    where = f", axial slice {axial}" if len(filled) > 1 else ""
    figure.suptitle(f"{case}{where}" + (f"\n{title}" if title else ""), fontsize=10)
    path = root / "figures" / f"{case}.png"
    write_file(path, lambda partial: figure.savefig(partial, format="png"))
    return path


def _volumes(case: str, name: str) -> list[str]:
    return [f"{kind}/{case}_{name}.nii.gz" for kind in ("adversarial", "predictions")]


def _load(path: Path) -> np.ndarray:
    """Voxels ``(H, W, D, C)``, of a 2-D image with a depth of 1."""
    volume = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
    return volume.reshape((*volume.shape, 1, 1)[:4])


def _painted(channels: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Class map of classes that may overlap: 0 where there is none, else one more than the class; later ones on top."""
    painted = np.zeros(channels.shape[:3], int)
    for index in order:
        painted[channels[..., index] > 0] = index + 1
    return painted


def _cut(volume: np.ndarray, axial: int) -> np.ndarray:
    """An axial slice of a RAS volume as radiologists look at it: anterior on top, the patient's right on the left."""
    return np.rot90(volume[::-1, :, axial].astype(np.float32))


def _overlay(labels: np.ndarray, colors: Sequence[tuple[float, ...]]) -> np.ndarray:
    rgba = np.array([(*color[:3], 0.0 if i == 0 else 0.65) for i, color in enumerate(colors)])
    return rgba[labels.astype(int).clip(0, len(colors) - 1)]
