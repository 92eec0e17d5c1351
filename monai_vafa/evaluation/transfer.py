# SPDX-License-Identifier: Apache-2.0
"""Transfer: adversarial volumes of one model as the other models see them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np

from monai_vafa.results.files import CsvTable, write_json
from monai_vafa.results.folder import ResultFolder, join_parameters, rows_digest, whole_json
from monai_vafa.results.schema import LABEL, TRANSFER, TRANSFER_KEYS
from monai_vafa.target.files import label_loader
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

    A second run goes on where the first one ended. What a source has not finished is left out.
    """

    def __init__(
        self, evaluators: Mapping[str, AttackEvaluator], attacks: Sequence[str], output_dir: str | os.PathLike
    ) -> None:
        self.evaluators, self.attacks, self._results = dict(evaluators), list(attacks), dict[str, ResultFolder]()
        table, self._record = Path(output_dir, TRANSFER), Path(output_dir, "transfer.json")
        self._parameters = whole_json(self._record)
        scored = set(self._parameters.pop(_ROWS, ()))
        for name, evaluator in self.evaluators.items():
            if evaluator.results is None:
                raise ValueError(f"evaluators[{name!r}] has no output_dir, where transfer looks for volumes.")
            self._results[name] = evaluator.results
            self._parameters[name] = join_parameters(
                self._parameters.get(name),
                evaluator.results.parameters,
                place=str(table),
                way_out="Remove it and transfer.json to score anew.",
                name=name,
            )
        self._table = CsvTable(table, TRANSFER_KEYS)
        self._table.groups = {key: rows for key, rows in self._table.groups.items() if rows_digest(rows) in scored}

    def run(self) -> dict[str, str]:
        """Score all that is not scored yet; returns "SOURCE to TARGET, CASE, ATTACK" -> error."""
        failed: dict[str, str] = {}
        if len(self.evaluators) < 2:
            return failed
        self._write()
        for (source, made), (target, shown) in permutations(self.evaluators.items(), 2):
            for case, attack in product(made.cases, self.attacks):
                key = (case, source, target, attack)
                finished = case in shown.cases and attack in self._results[source].finished(case)
                if not finished or key in self._table.groups:
                    continue
                logger.info("%s of %s, made on %s: shown to %s", attack, case, source, target)
                volume = self._results[source].volume("adversarial", case, attack)
                clean = self._results[target].volume("predictions", case, LABEL)
                try:
                    scores = score_volume(shown, case, volume, reference=clean)
                except Exception as error:
                    logger.exception("going on with the others")
                    failed[f"{source} to {target}, {case}, {attack}"] = root_cause(error)
                    continue
                self._table.add([{**dict(zip(TRANSFER_KEYS, key, strict=True)), **scores}])
                self._write()
        models = list(self.evaluators)
        cases = list(dict.fromkeys(case for evaluator in self.evaluators.values() for case in evaluator.cases))
        self._write((cases, models, models, self.attacks))
        return failed

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
    label = loaded[target.label_key] if item.get(target.label_key) is not None else label_loader()(reference)
    loaded[target.label_key] = on_grid_of(loaded[target.image_key], label)
    image, reference_label, _ = as_case(target, loaded)
    pair = one_hot_pair(target, predict(target, image), reference_label)
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
    turn = nib.orientations.ornt_transform(*(nib.orientations.io_orientation(v.affine) for v in (volume, other)))
    flat, several_planes = other.ndim == 2, other.ndim == 2 and volume.ndim > 2
    if (turn == [[0, 1], [1, 1], [2, 1]]).all() and not several_planes:
        yield os.fspath(image)
        return
    if flat:  # only what has three axes can be turned
        voxels = np.asarray(volume.dataobj)
        volume = nib.Nifti1Image(voxels.reshape(*voxels.shape[:2], 1, -1), volume.affine)
    turned = volume.as_reoriented(turn)
    planes = np.moveaxis(np.asarray(turned.dataobj)[:, :, 0], -1, 0) if flat else ()
    with TemporaryDirectory() as folder:
        paths = []
        for i, file in enumerate([nib.Nifti1Image(plane, turned.affine) for plane in planes] or [turned]):
            paths.append(os.fspath(Path(folder, f"{i}_{Path(image).name}")))
            nib.save(file, paths[-1])
        yield paths if several_planes else paths[0]
