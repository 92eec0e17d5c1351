# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""A picture of one case: what hardened models say of it under each attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_vafa.report.benchmark import CLEAN, CONTROLS, Benchmark
from monai_vafa.report.figures import _cut, _load, _overlay, _painted
from monai_vafa.report.table import cell
from monai_vafa.results.files import write_file

__all__ = ["hardening_figure"]

_DPI = 110
_CELL = 1.7  # inches
_MOST_COLUMNS = 6  # besides the reference; more can't be read
_MOST_ROWS = 8
_LABEL = "label"


@dataclass(frozen=True)
class _Grid:
    """What is drawn: the model that chooses the slice, the case, models as rows and names of attacks as columns."""

    reference: str
    case: str
    models: list[str]
    columns: list[str]
    strongest: str


def hardening_figure(benchmark: Benchmark) -> Path | None:
    """
    Draw the first case like the paper's comparison of robust models: a row per hardened model, a column for the clean
    image and each base attack.

    A cell shows the image that was made against that model, its prediction painted over it, and the DSC of the case;
    the first column shows the reference labels. The axial slice is chosen as in
    :func:`~monai_vafa.report.figures.case_figure`, by what the attack that leaves the lowest DSC changes on the model
    trained on clean images; models on other grids show the slice at the same height. Of more than six columns clean
    and the strongest attacks are drawn, of more than eight models those of one network.

    Args:
        benchmark: what was read; ``hardened`` names the models.

    Returns:
        path of the PNG, ``figures/hardening_CASE.png`` in the folder; ``None`` when there are no volumes to draw.

    Raises:
        ModuleNotFoundError: When matplotlib is missing.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    if (grid := _choose(benchmark)) is None:
        return None
    label, clean, attacked = (
        _load_ras(benchmark, grid.reference, "predictions", grid.case, name) for name in (_LABEL, CLEAN, grid.strongest)
    )
    axial = _axial(label, clean, attacked)
    names, order = list(benchmark.summaries[grid.reference]["class_names"]), None
    if benchmark.summaries[grid.reference].get("activation") == "sigmoid":
        # a channel for each class, of which the smaller is painted over the larger
        names, order = ["", *names], label.sum(axis=(0, 1, 2), dtype=int).argsort()[::-1]
    # background is left clear
    palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
    colors = [palette(i % palette.N) for i in range(len(names))]
    width, height = label.shape[:2]

    across = len(grid.columns) + 1
    size = (_CELL * across + 0.5, _CELL * height / width * len(grid.models) + 1.2)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(grid.models), across, squeeze=False)
    present: set[int] = set()
    for axis, title in zip(axes[0], ("reference labels", *grid.columns), strict=True):
        axis.set_title(title, fontsize=9)
    for row, model in zip(axes, grid.models, strict=True):
        index = _same_height(benchmark, grid, model, axial)
        image = _load_ras(benchmark, model, "adversarial", grid.case, CLEAN)[..., 0]
        gray: dict[str, Any] = {"cmap": "gray", "vmin": float(image.min()), "vmax": float(image.max())}
        row[0].set_ylabel("\n".join(benchmark.hardened[model]), fontsize=9)
        for axis, name in zip(row, (_LABEL, *grid.columns), strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            shown = CLEAN if name == _LABEL else name
            if not _is_stored(benchmark, model, grid.case, shown):
                axis.text(0.5, 0.5, "no results", transform=axis.transAxes, ha="center", va="center", fontsize=8)
                continue
            image = _load_ras(benchmark, model, "adversarial", grid.case, shown)[..., 0]
            channels = _load_ras(benchmark, model, "predictions", grid.case, name)
            labels = _cut(channels[..., 0] if order is None else _painted(channels, order), index)
            axis.imshow(_cut(image, index), interpolation="nearest", **gray)
            axis.imshow(_overlay(labels, colors), interpolation="nearest")
            present |= {int(c) for c in np.unique(labels)}
            if (dsc := benchmark.case_values(model, name, "dsc").get(grid.case)) is not None:
                box = {"facecolor": "black", "alpha": 0.6, "pad": 1.5, "linewidth": 0}
                corner: dict[str, Any] = {"ha": "left", "va": "top", "color": "white", "fontsize": 8, "bbox": box}
                axis.text(0.03, 0.97, cell("dsc", dsc), transform=axis.transAxes, **corner)
    patches = [Patch(color=colors[c], label=names[c]) for c in sorted(present - {0}) if c < len(names)]
    if patches:
        figure.legend(handles=patches, loc="outside lower center", ncols=across, fontsize=8, frameon=False)
    line = f"{grid.case}, axial slice {axial}; row: network, trained against; column: attack; corner: DSC of the case"
    figure.suptitle(f"{line}\n{benchmark.description}".strip(), fontsize=9)
    path = benchmark.folder / "figures" / f"hardening_{grid.case}.png"
    write_file(path, lambda partial: figure.savefig(partial, format="png"))
    return path


def _choose(benchmark: Benchmark) -> _Grid | None:
    """The first case with an attack on a model trained on clean images, or else on any."""
    for reference in sorted(benchmark.hardened, key=lambda model: benchmark.hardened[model][1] != CLEAN):
        summary = benchmark.summaries[reference]
        for case in (c for c in summary.get("cases", []) if c not in summary["failed"]):
            attacks = [a for a in benchmark.attacks if _is_stored(benchmark, reference, case, a)]
            if attacks and _is_comparable(benchmark, reference, case):
                dsc = {a: benchmark.case_values(reference, a, "dsc").get(case, 1.0) for a in attacks}
                # controls give way first
                ranked = sorted(attacks, key=lambda a: (a in CONTROLS, dsc[a]))
                kept = [a for a in attacks if a in ranked[: _MOST_COLUMNS - 1]]
                models = [m for m in benchmark.hardened if _is_comparable(benchmark, m, case)]
                if len(models) > _MOST_ROWS:
                    network = benchmark.hardened[reference][0]
                    models = [m for m in models if benchmark.hardened[m][0] == network][:_MOST_ROWS]
                return _Grid(reference, case, models, [CLEAN, *kept], ranked[0])
    return None


def _axial(label: np.ndarray, clean: np.ndarray, attacked: np.ndarray) -> int:
    """The slice that an attack changes most, among those with half as many labelled voxels as the fullest."""
    filled = label.any(axis=-1).sum(axis=(0, 1))
    changed = (attacked != clean).any(axis=-1).sum(axis=(0, 1))
    return int(np.where(filled >= filled.max() / 2, changed, -1).argmax())


def _same_height(benchmark: Benchmark, grid: _Grid, model: str, axial: int) -> int:
    """Index of the slice of a model's grid that lies where a slice of the reference model's grid does."""
    volumes = [_volume(benchmark, m, "predictions", grid.case, _LABEL) for m in (grid.reference, model)]
    (here, shape), (there, its_shape) = map(_ras_grid, volumes)
    middle = here @ [(shape[0] - 1) / 2, (shape[1] - 1) / 2, axial, 1]
    return int(np.clip(np.rint(np.linalg.solve(there, middle)[2]), 0, its_shape[2] - 1))


def _load_ras(benchmark: Benchmark, model: str, kind: str, case: str, name: str) -> np.ndarray:
    """Voxels ``(H, W, D, C)``, turned to RAS: the models of a benchmark need not share an orientation."""
    path = _volume(benchmark, model, kind, case, name)
    image: Any = nib.load(path)
    return nib.apply_orientation(_load(path), nib.io_orientation(image.affine))


def _ras_grid(path: Path) -> tuple[np.ndarray, Sequence[int]]:
    """Affine and shape of a volume once its axes are turned to RAS."""
    image: Any = nib.load(path)
    turned = nib.io_orientation(image.affine)
    shape = (*image.shape, 1)[:3]  # a 2-D image has one slice
    affine = image.affine @ nib.orientations.inv_ornt_aff(turned, shape)
    return affine, [shape[int(axis)] for axis in np.argsort(turned[:, 0])]


def _volume(benchmark: Benchmark, model: str, kind: str, case: str, name: str) -> Path:
    return benchmark.folder / model / kind / f"{case}_{name}.nii.gz"


def _is_stored(benchmark: Benchmark, model: str, case: str, name: str) -> bool:
    return all(_volume(benchmark, model, kind, case, name).is_file() for kind in ("adversarial", "predictions"))


def _is_comparable(benchmark: Benchmark, model: str, case: str) -> bool:
    labelled = _volume(benchmark, model, "predictions", case, _LABEL).is_file()
    return labelled and _is_stored(benchmark, model, case, CLEAN)
