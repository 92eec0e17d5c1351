# SPDX-License-Identifier: Apache-2.0
"""Pictures of cases: what was attacked, and what the network then said."""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from tqdm.auto import tqdm

from monai_vafa.atomic import write_file
from monai_vafa.results.files import file_name
from monai_vafa.results.schema import CLEAN, LABEL, volume_name

logger = logging.getLogger(__name__)

_DPI = 110
_LEGEND_COLUMN = 1.8  # inches
_MOST_ROWS = 7  # taller figures don't fit on a screen
_MOST_CONTROLS = 2


def case_figures(folder: Path, summary: Mapping[str, Any]) -> dict[str, Path]:
    """Draw every finished case of a run that has volumes, clean first, with the most telling attacks; case -> PNG."""
    drawn = {}
    controls = {name for name, row in summary["attacks"].items() if row.get("control")}
    names, title, activation = summary["class_names"], summary["description"], summary.get("activation", "softmax")
    for case in tqdm([c for c in summary["cases"] if c not in summary["failed"]], desc="figures", leave=False):
        if is_drawable(folder, case):
            stored = [name for name in summary["means"] if is_stored(folder, case, name)]
            rows = figure_rows(summary["means"], stored, controls)
            drawn[case] = case_figure(folder, case, rows, names, title, activation=activation)
    return drawn


def is_stored(folder: Path, case: str, name: str) -> bool:
    """Whether a run has kept the image of a row, and the prediction for it."""
    return all((folder / volume_name(kind, case, name)).is_file() for kind in ("adversarial", "predictions"))


def is_drawable(folder: Path, case: str) -> bool:
    """Whether a run has kept the labels of a case and its clean image, which every figure shows."""
    return (folder / volume_name("predictions", case, LABEL)).is_file() and is_stored(folder, case, CLEAN)


def figure_rows(
    means: Mapping[str, Mapping[str, Any]], attacks: Sequence[str], controls: Iterable[str] = ()
) -> list[str]:
    """At most seven rows, in their order: clean, which comes first, two controls, and the strongest attacks."""
    if len(attacks) <= _MOST_ROWS:
        return list(attacks)
    kept = [attacks[0], *[name for name in attacks if name in set(controls)][:_MOST_CONTROLS]]
    others = [name for name in attacks if name not in {*kept, *controls}]
    others.sort(key=lambda name: 1.0 if (dsc := means[name].get("dsc")) is None else float(dsc))
    kept += others[: _MOST_ROWS - len(kept)]
    return [name for name in attacks if name in kept]


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
    Draw one case like Fig. 2 of the paper: a row for the clean image, which comes first, and each attack.

    A row shows the image, the network's prediction over it, and the change of the image in its own units; the clean
    row shows the reference labels instead of a change. Returns the path of the PNG, ``figures/CASE.png``.
    """
    # of several image channels the first is shown
    root = Path(folder)
    images = {a: load_volume(root / volume_name("adversarial", case, a))[..., 0] for a in attacks}
    channels = {a: load_volume(root / volume_name("predictions", case, a)) for a in (*attacks, LABEL)}
    clean = attacks[0]
    painter = ClassPainter(class_names, channels[LABEL], activation)
    axial = most_changed_slice(channels[LABEL], channels[clean], [channels[a] for a in attacks[1:]])
    changes = {a: axial_slice(images[a] - images[clean], axial) for a in attacks}
    limit = max(*(float(np.abs(change).max()) for change in changes.values()), 1e-6)

    figure = new_figure(9.6, 2.9 * len(attacks) + 0.8)
    axes = figure.subplots(len(attacks), 3, squeeze=False, subplot_kw={"xticks": [], "yticks": []})
    for row, name in zip(axes, attacks, strict=True):
        row[0].set_ylabel(name, fontsize=11)
        for axis, over in zip(row, (None, channels[name], channels[LABEL] if name == clean else None), strict=True):
            painter.draw(axis, images[name], axial, images[clean], over)
        if name == clean:
            for axis, text in zip(row, ("image", "prediction", "reference labels"), strict=True):
                axis.set_title(text)
        else:
            shown = row[2].imshow(changes[name], cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    if len(attacks) > 1:
        axes[1, 2].set_title("change of the image")
        figure.colorbar(shown, ax=list(axes[:, 2]), shrink=0.6, aspect=40, location="right")
    where = f", axial slice {axial}" if channels[clean].shape[2] > 1 else ""
    return save_figure(figure, root / "figures" / f"{case}.png", f"{case}{where}\n{title}", painter.legend())


class ClassPainter:
    """Paints classes over a slice, the background left clear. Of overlapping classes the smaller one lies on top."""

    def __init__(self, class_names: Sequence[str], label: np.ndarray, activation: str) -> None:
        from matplotlib import colormaps

        overlap = activation == "sigmoid"
        self.names = ["", *class_names] if overlap else list(class_names)
        self._largest_first = label.sum(axis=(0, 1, 2), dtype=int).argsort()[::-1] if overlap else None
        palette = colormaps["tab10" if len(self.names) <= 10 else "tab20"]
        self._rgba = palette(np.arange(len(self.names)) % palette.N, alpha=0.65)
        self._rgba[0, 3] = 0
        self._painted: set[int] = set()

    def draw(self, axis: Any, image: np.ndarray, axial: int, clean: np.ndarray, over: np.ndarray | None) -> None:
        """Show a slice of an image, in the gray levels of the clean one, with a prediction painted over it."""
        gray: dict[str, Any] = {"cmap": "gray", "vmin": clean.min(), "vmax": clean.max(), "interpolation": "nearest"}
        axis.imshow(axial_slice(image, axial), **gray)
        if over is not None:
            axis.imshow(self.paint(over, axial), interpolation="nearest")

    def paint(self, channels: np.ndarray, axial: int) -> np.ndarray:
        """An axial slice of a prediction ``(H, W, D, C)`` as RGBA ``(rows, columns, 4)`` in [0, 1]."""
        classes = channels[..., 0]
        if self._largest_first is not None:
            classes = np.zeros(channels.shape[:3], int)
            for index in self._largest_first:
                classes[channels[..., index] > 0] = index + 1
        shown = axial_slice(classes, axial).astype(int).clip(0, len(self.names) - 1)
        self._painted |= set(np.unique(shown).tolist())
        return self._rgba[shown]

    def legend(self) -> list[Any]:
        """A patch with a name for each class painted so far."""
        from matplotlib.patches import Patch

        return [Patch(color=tuple(self._rgba[i, :3]), label=self.names[i]) for i in sorted(self._painted - {0})]


def most_changed_slice(label: np.ndarray, clean: np.ndarray, attacked: Sequence[np.ndarray]) -> int:
    """The slice where predictions ``(H, W, D, C)`` change most, among those with half as much label as the fullest."""
    filled = label.any(axis=-1).sum(axis=(0, 1))
    changed = sum(((volume != clean).any(axis=-1).sum(axis=(0, 1)) for volume in attacked), np.zeros_like(filled))
    return int(np.where(filled >= filled.max() / 2, changed, -1).argmax())


def axial_slice(volume: np.ndarray, axial: int) -> np.ndarray:
    """An axial slice of a RAS volume as radiologists look at it: anterior on top, the patient's right on the left."""
    return np.rot90(volume[::-1, :, axial].astype(np.float32))


def load_volume(path: Path) -> np.ndarray:
    """Voxels ``(H, W, D, C)``; a 2-D image has a depth of 1."""
    try:
        volume = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
        height, width, *others = volume.shape  # a damaged header may have fewer
    except Exception as error:  # of nibabel, gzip, zlib and numpy
        raise ValueError(f"{os.fspath(path)!r} is damaged: {error}; remove it, or run the attack again.") from error
    return volume.reshape((height, width, *others, 1, 1)[:4])


def can_draw() -> bool:
    """Whether matplotlib is there; a warning says so if it is not."""
    there = find_spec("matplotlib") is not None
    if not there:
        logger.warning("no figures without matplotlib: pip install matplotlib")
    return there


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure, in inches, that needs no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def save_figure(figure: Any, path: Path, title: str = "", patches: Sequence[Any] = ()) -> Path:
    """Write a figure as PNG, its title wrapped to its width and a legend of patches below; returns the path."""
    if patches:
        columns = int(figure.get_figwidth() / _LEGEND_COLUMN)
        figure.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)
    if title:
        width = int(12 * figure.get_figwidth())
        figure.suptitle("\n".join(textwrap.fill(line, width) for line in title.splitlines()), fontsize=9)
    write_file(path.with_name(file_name(path.name)), lambda partial: figure.savefig(partial, format="png"))
    return path
