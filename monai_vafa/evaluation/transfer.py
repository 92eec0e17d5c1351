# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Transfer: adversarial volumes of one model as the other models see them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from monai.transforms import LoadImage

from monai_vafa.results.files import CsvTable, write_json
from monai_vafa.results.folder import ResultFolder, join_parameters, refuse_changes, rows_digest, whole_json
from monai_vafa.results.schema import LABEL, TRANSFER, TRANSFER_KEYS
from monai_vafa.target.preprocessing import on_grid_of

from .case import as_case, predict
from .evaluator import AttackEvaluator
from .record import root_cause
from .scoring import class_means, one_hot_pair, segmentation_scores

logger = logging.getLogger("monai_vafa.evaluation")

_ROWS = "rows of transfer.csv"  # beside the names of models, which have no spaces


class Transfer:
    """
    Sends every saved adversarial volume of every model through every other model, and writes::

        transfer.csv      a row per case, source, target, attack: segmentation metrics of the target
        transfer.json     the parameters of both sides, so that results of others are never mixed in, and hashes of the
                          rows, so that damaged ones are scored again

    A second run goes on where the first one ended. What a source has not finished is left out, and with a single
    model there is nothing to do. ``failed`` maps ``"SOURCE to TARGET, CASE, ATTACK"`` to an error.
    """

    def __init__(
        self, evaluators: Mapping[str, AttackEvaluator], attacks: Sequence[str], output_dir: str | os.PathLike
    ) -> None:
        self.evaluators = dict(evaluators)
        self.attacks = list(attacks)
        self.failed: dict[str, str] = {}
        folder = Path(output_dir)
        self._record = folder / "transfer.json"
        self._parameters = whole_json(self._record)
        self._results: dict[str, ResultFolder] = {}
        for name, evaluator in self.evaluators.items():
            if evaluator.results is None:
                raise ValueError(f"evaluators[{name!r}] has no output_dir, where transfer looks for volumes.")
            self._results[name] = evaluator.results
            joined, changed = join_parameters(self._parameters.get(name), evaluator.results.parameters)
            lines = [f"{name}.{line}" for line in changed]
            refuse_changes(str(folder / TRANSFER), lines, "Remove it and transfer.json to score anew.")
            self._parameters[name] = joined
        self._table = CsvTable(folder / TRANSFER, TRANSFER_KEYS)
        rows = set(self._parameters.pop(_ROWS, ()))
        self._table.groups = {key: group for key, group in self._table.groups.items() if rows_digest(group) in rows}

    def run(self) -> None:
        """Score all that is not scored yet."""
        self.failed.clear()
        if len(self.evaluators) < 2:
            return
        self._write()
        for (source, made), (target, shown) in permutations(self.evaluators.items(), 2):
            for case in (case for case in made.cases if case in shown.cases):
                for attack in (a for a in self.attacks if a in self._results[source].finished(case)):
                    if (key := (case, source, target, attack)) not in self._table.groups:
                        self._score(key)
        models = list(self.evaluators)
        cases = list(dict.fromkeys(case for evaluator in self.evaluators.values() for case in evaluator.cases))
        self._write((cases, models, models, self.attacks))

    def _score(self, key: tuple[str, str, str, str]) -> None:
        case, source, target, attack = key
        logger.info("%s of %s, made on %s: shown to %s", attack, case, source, target)
        volume = self._results[source].volume("adversarial", case, attack)
        clean = self._results[target].volume("predictions", case, LABEL)
        try:
            scores = score_volume(self.evaluators[target], case, volume, reference=clean)
        except Exception as error:
            logger.exception("going on with the others")
            self.failed[f"{source} to {target}, {case}, {attack}"] = root_cause(error)
            return
        self._table.add([{**dict(zip(TRANSFER_KEYS, key, strict=True)), **scores}])
        self._write()

    def _write(self, order: Sequence[Sequence[str]] = ()) -> None:
        self._table.write(order)
        digests = sorted(map(rows_digest, self._table.groups.values()))
        write_json(self._record, {**self._parameters, _ROWS: digests})


def score_volume(
    evaluator: AttackEvaluator, case: str, volume: str | os.PathLike, *, reference: str | os.PathLike
) -> dict[str, float]:
    """Let a network predict another image in place of a case's own, and compare with the case's label."""
    target, item = evaluator.target, evaluator.items[case]
    with oriented_like(volume, evaluator.cases[case]) as path:
        loaded = target.preprocess({**item, target.image_key: path})
    # The volume may lie on the grid of the network that it was made on.
    labelled = item.get(target.label_key) is not None
    label = loaded[target.label_key] if labelled else LoadImage(ensure_channel_first=True)(reference)
    loaded[target.label_key] = on_grid_of(loaded[target.image_key], label)
    shown = as_case(target, loaded)
    pair = one_hot_pair(target, predict(target, shown.image), shown.label)
    return class_means(segmentation_scores(evaluator.settings.segmentation_metrics, *pair), target.activation)


@contextmanager
def oriented_like(image: str | os.PathLike, like: str | os.PathLike) -> Iterator[str | list[str]]:
    """
    Give a file whose axes run like those of another one, as preprocessing without an orientation step expects.

    That is ``image`` itself or a temporary copy with axes flipped and swapped; no voxel is interpolated. A 2-D image of
    several channels comes as a file for each: NIfTI has no other place for them that is not taken for depth.
    """
    volume: Any = nib.load(image)
    other: Any = nib.load(like)
    axes = [nib.orientations.io_orientation(v.affine) for v in (volume, other)]
    turn = nib.orientations.ornt_transform(*axes)
    several_planes = other.ndim == 2 and volume.ndim > 2
    if (turn == [[0, 1], [1, 1], [2, 1]]).all() and not several_planes:
        yield os.fspath(image)
        return
    with TemporaryDirectory() as folder:
        turned = Path(folder) / Path(image).name
        if other.ndim > 2:
            nib.save(volume.as_reoriented(turn), turned)
            yield os.fspath(turned)
            return
        voxels = np.asarray(volume.dataobj)
        # only what has three axes can be turned
        whole = nib.Nifti1Image(voxels.reshape(*voxels.shape[:2], 1, -1), volume.affine).as_reoriented(turn)
        paths = []
        for i, plane in enumerate(np.moveaxis(np.asarray(whole.dataobj)[:, :, 0], -1, 0)):
            paths.append(os.fspath(turned.with_name(f"{i}_{turned.name}")))
            nib.save(nib.Nifti1Image(plane, whole.affine), paths[-1])
        yield paths if several_planes else paths[0]
