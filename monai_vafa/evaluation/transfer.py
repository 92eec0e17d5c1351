# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Show what was made against one model to the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

from monai_vafa.results.files import CsvTable, read_json, write_json
from monai_vafa.results.folder import join_parameters, refuse_changes

from .checks import root_cause
from .evaluation import AttackEvaluation

__all__ = ["Transfer"]

logger = logging.getLogger(__name__)

_COLUMNS = ("case", "source", "target", "attack")


class Transfer:
    """
    Sends every saved adversarial volume of every model through every other model, and writes::

        transfer.csv      a row per case, source, target, attack: segmentation metrics of the target
        transfer.json     the parameters of both sides, so that results of others are never mixed in

    A second run goes on where the first one ended. What a source has not finished is left out, and with a single
    model there is nothing to do.

    Args:
        evaluations: model name -> its evaluation.
        attacks: names of the attacks to send; all evaluations must save them.
        output_dir: folder of the two files.

    Attributes:
        failed: ``"SOURCE to TARGET, CASE, ATTACK"`` -> error.

    Raises:
        ValueError: When an evaluation does not save an attack, or the folder holds results of other parameters.
    """

    def __init__(
        self, *, evaluations: Mapping[str, AttackEvaluation], attacks: Sequence[str], output_dir: str | os.PathLike
    ) -> None:
        for name, evaluation in evaluations.items():
            if unsaved := [attack for attack in attacks if attack not in evaluation.saved]:
                raise ValueError(f"transfer needs the volumes of {', '.join(unsaved)}, which {name!r} does not save.")
        self.evaluations = dict(evaluations)
        self.attacks = list(attacks)
        self.failed: dict[str, str] = {}
        folder = Path(output_dir)
        self._record = folder / "transfer.json"
        self._parameters = read_json(self._record)
        for name, evaluation in self.evaluations.items():
            joined, changed = join_parameters(self._parameters.get(name), evaluation.results.parameters)
            lines = [f"{name}.{line}" for line in changed]
            refuse_changes(str(folder / "transfer.csv"), lines, "Remove it and transfer.json to score anew.")
            self._parameters[name] = joined
        self._table = CsvTable(folder / "transfer.csv", _COLUMNS)

    def run(self) -> None:
        """Score all that is not scored yet."""
        if len(self.evaluations) < 2:
            return
        write_json(self._record, self._parameters)
        finished = {self._table.key(row) for row in self._table.rows}
        for (source, made), (target, shown) in permutations(self.evaluations.items(), 2):
            for case in (case for case in made.cases if case in shown.cases):
                for attack in (a for a in self.attacks if a in made.results.finished(case)):
                    if (key := (case, source, target, attack)) not in finished:
                        self._score(key)
        models = list(self.evaluations)
        cases = dict.fromkeys(case for evaluation in self.evaluations.values() for case in evaluation.cases)
        self._table.write(dict(zip(_COLUMNS, (cases, models, models, self.attacks), strict=True)))

    def _score(self, key: tuple[str, str, str, str]) -> None:
        case, source, target, attack = key
        logger.info("%s of %s, made on %s: shown to %s", attack, case, source, target)
        volume = self.evaluations[source].results.volume("adversarial", case, attack)
        try:
            scores = self.evaluations[target].score_image(case, volume)
        except Exception as error:
            logger.exception("going on with the others")
            self.failed[f"{source} to {target}, {case}, {attack}"] = root_cause(error)
            return
        self._table.add([{**dict(zip(_COLUMNS, key, strict=True)), **scores}])
        self._table.write()
