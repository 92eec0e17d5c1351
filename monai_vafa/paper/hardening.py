# SPDX-License-Identifier: Apache-2.0
"""Models hardened against one attack each, under all attacks: Table 2 of the paper and a picture of one case."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_vafa.report.benchmark import Benchmark
from monai_vafa.report.figures import (
    ClassPainter,
    is_drawable,
    is_stored,
    load_volume,
    most_changed_slice,
    new_figure,
    save_figure,
)
from monai_vafa.report.tables import Table, cell
from monai_vafa.results.schema import CLEAN, LABEL, volume_name
from monai_vafa.results.statistics import mean

from .published import CONDITIONS, TABLE_2, TABLE_2_BUDGETS

_WORST = "worst case"  # the group of attacks that makes the last column
_CELL = 1.7  # inches
_MOST_COLUMNS = 6  # besides the reference; more are too small to read
_MOST_ROWS = 8


def hardening_table(benchmark: Benchmark) -> Table:
    """
    Mean DSC in percent: a row per hardened model, a column for clean images, each base attack and the worst case.

    A published number stands beside a column whose attack has the paper's budget.
    """
    models, notes = benchmark.hardened, _uneven(benchmark)
    networks, trained_against = zip(*models.values(), strict=True)
    table = [["", *networks], ["trained against", *trained_against]]
    for column in _columns(benchmark):
        ours = [
            cell("dsc", benchmark.value(m, column, "dsc")) if column != CLEAN or benchmark.means(m) else "no results"
            for m in models
        ]
        theirs = [_published(benchmark, model, column) for model in models]
        table += [[column, *ours], *([[f"published {column}", *theirs]] if set(theirs) != {"-"} else [])]
    if _WORST in benchmark.worst_cases:
        notes.append(f"{_WORST}: for each case the lowest DSC under {', '.join(benchmark.worst_cases[_WORST])}.")
    if any(name.startswith("published") for name, *_ in table):
        notes.append(CONDITIONS[f"table 2, {benchmark.published}"])
    return Table("DSC of hardened models", [list(row) for row in zip(*table, strict=True)], notes, labels=2)


def change_table(benchmark: Benchmark) -> Table:
    """
    What hardening changes: DSC of each hardened model minus that of the same network trained on clean images.

    In percentage points, taken case by case over the cases that both models have, and then averaged.
    """
    columns = _columns(benchmark)
    references = {network: model for model, (network, against) in benchmark.hardened.items() if against == CLEAN}
    rows, lonely, notes = [["", "trained against", *columns]], {}, []
    for model, (network, against) in benchmark.hardened.items():
        if against == CLEAN:
            continue
        if network not in references:
            lonely[network] = f"{network}: no model trained on clean images to compare with."
        cells, partly = [], False
        for column in columns:
            ours = benchmark.case_values(model, column, "dsc")
            theirs = benchmark.case_values(references[network], column, "dsc") if network in references else {}
            change = mean(ours[case] - theirs[case] for case in ours if case in theirs)
            partly |= change is not None and ours.keys() != theirs.keys()
            # adding zero removes the sign of -0.0
            cells.append("-" if change is None else f"{round(100 * change, 2) + 0.0:+.2f}")
        if not benchmark.means(model):
            cells[0] = "no results"
        rows.append([network, against, *cells])
        notes += [f"{network}, {against}: over the cases that both models have."] if partly else []
    title = "Change against the model trained on clean images, in points of DSC"
    return Table(title, rows, [*lonely.values(), *notes], labels=2)


def _columns(benchmark: Benchmark) -> list[str]:
    return [CLEAN, *benchmark.attacks, *([_WORST] if _WORST in benchmark.worst_cases else [])]


def _published(benchmark: Benchmark, model: str, column: str) -> str:
    network, against = benchmark.hardened[model]
    data = benchmark.published or ""
    dsc = TABLE_2.get(data, {}).get(network, {}).get(against, {}).get(column)
    if dsc is None:
        return "-"
    if column != CLEAN and all(benchmark.base_value(column, p) != v for p, v in TABLE_2_BUDGETS[data].items()):
        return "-"
    return f"{dsc:.1f}" if against == CLEAN else f"{dsc:.2f}"  # as many digits as Table 1 and Table 2 have


def _uneven(benchmark: Benchmark) -> list[str]:
    """Names the models that lack cases which others have, so that their means can't be compared."""
    cases = {m: benchmark.case_values(m, CLEAN, "dsc").keys() for m in benchmark.hardened if benchmark.means(m)}
    every: set[str] = set().union(*cases.values())
    return [
        f"{', '.join(benchmark.hardened[model])}: mean over {len(own)} of the {len(every)} cases that models here have."
        for model, own in cases.items()
        if len(own) < len(every)
    ]


def hardening_figure(benchmark: Benchmark) -> Path | None:
    """
    Draw the first case like the paper's comparison of robust models: a row per model, a column for each base attack.

    A cell shows the image that was made against that model, its prediction painted over it, and the DSC of the case;
    the first columns show the reference labels and the clean image. The axial slice is the one that the attack with the
    lowest DSC changes most on the model trained on clean images; models on other grids show it at the same height. Of
    many attacks the six strongest are drawn, of more than eight models those of one network.
    """
    if (chosen := _choose(benchmark)) is None:
        return None
    reference, case, attacks = chosen
    # controls give way first
    dsc = {attack: benchmark.case_values(reference, attack, "dsc").get(case, 1.0) for attack in attacks}
    ranked = sorted(attacks, key=lambda attack: (benchmark.facts[attack]["control"], dsc[attack]))
    columns = [CLEAN, *(attack for attack in attacks if attack in ranked[: _MOST_COLUMNS - 1])]
    models = [model for model in benchmark.hardened if is_drawable(benchmark.folder / model, case)]
    if len(models) > _MOST_ROWS:
        network = benchmark.hardened[reference][0]
        models = [model for model in models if benchmark.hardened[model][0] == network][:_MOST_ROWS]

    volumes = [_load_ras(benchmark, reference, "predictions", case, name) for name in (LABEL, CLEAN, ranked[0])]
    label, clean, attacked = (np.asarray(volume.dataobj) for volume in volumes)
    axial = most_changed_slice(label, clean, [attacked])
    summary = benchmark.summaries[reference]
    painter = ClassPainter(summary["class_names"], label, summary.get("activation", "softmax"))
    width, height = label.shape[:2]
    across = len(columns) + 1
    figure = new_figure(_CELL * across + 0.5, _CELL * height / width * len(models) + 1.2)
    axes = figure.subplots(len(models), across, squeeze=False, subplot_kw={"xticks": [], "yticks": []})
    for axis, title in zip(axes[0], ("reference labels", *columns), strict=True):
        axis.set_title(title, fontsize=9)
    for row, model in zip(axes, models, strict=True):
        load = partial(_load_ras, benchmark, model)
        index = _same_height(volumes[0], axial, load("predictions", case, LABEL))
        unattacked = np.asarray(load("adversarial", case, CLEAN).dataobj)[..., 0]
        row[0].set_ylabel("\n".join(benchmark.hardened[model]), fontsize=9)
        for axis, name in zip(row, (LABEL, *columns), strict=True):
            shown = CLEAN if name == LABEL else name
            if not is_stored(benchmark.folder / model, case, shown):
                axis.text(0.5, 0.5, "no results", transform=axis.transAxes, ha="center", va="center", fontsize=8)
                continue
            image, over = (load(*of).dataobj for of in (("adversarial", case, shown), ("predictions", case, name)))
            painter.draw(axis, np.asarray(image)[..., 0], index, unattacked, np.asarray(over))
            if (score := benchmark.case_values(model, name, "dsc").get(case)) is not None:
                box = {"facecolor": "black", "alpha": 0.6, "pad": 1.5, "linewidth": 0}
                corner = {"transform": axis.transAxes, "ha": "left", "va": "top", "bbox": box}
                axis.text(0.03, 0.97, cell("dsc", score), color="white", fontsize=8, **corner)
    line = f"{case}, axial slice {axial}; row: network, trained against; column: attack; corner: DSC of the case"
    path = benchmark.folder / "figures" / f"hardening_{case}.png"
    return save_figure(figure, path, f"{line}\n{benchmark.description}", painter.legend())


def _choose(benchmark: Benchmark) -> tuple[str, str, list[str]] | None:
    """Model, case and attacks of the first case attacked on a model trained on clean images, or else on any."""
    for model in sorted(benchmark.hardened, key=lambda model: benchmark.hardened[model][1] != CLEAN):
        summary = benchmark.summaries[model]
        for case in (c for c in summary.get("cases", []) if c not in summary["failed"]):
            attacks = [a for a in benchmark.attacks if is_stored(benchmark.folder / model, case, a)]
            if attacks and is_drawable(benchmark.folder / model, case):
                return model, case, attacks
    return None


def _same_height(label: nib.Nifti1Image, axial: int, other: nib.Nifti1Image) -> int:
    """Index of the slice of another volume at the height of an axial slice."""
    here, there = np.asarray(label.affine), np.asarray(other.affine)
    middle = here @ [(label.shape[0] - 1) / 2, (label.shape[1] - 1) / 2, axial, 1]
    return int(np.clip(np.rint(np.linalg.solve(there, middle)[2]), 0, other.shape[2] - 1))


def _load_ras(benchmark: Benchmark, model: str, kind: str, case: str, name: str) -> nib.Nifti1Image:
    """A volume ``(H, W, D, C)`` turned to RAS: the models of a benchmark need not share an orientation."""
    path = benchmark.folder / model / volume_name(kind, case, name)
    voxels = load_volume(path)
    return nib.as_closest_canonical(nib.Nifti1Image(voxels, nib.load(path).affine))  # type: ignore[attr-defined]
