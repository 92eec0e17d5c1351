# SPDX-License-Identifier: Apache-2.0
"""Cases under attacks as an Ignite engine of MONAI's, which writes a result folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.transforms import Transform
from monai.utils import ensure_tuple

from monai_vafa.attacks.checks import check_number
from monai_vafa.data.paths import check_path
from monai_vafa.results.files import CsvTable, check_known
from monai_vafa.results.folder import ResultFolder, whole_json
from monai_vafa.results.schema import CASE_KEYS, CLEAN, LABEL, SUMMARY
from monai_vafa.results.statistics import run_statistics
from monai_vafa.target import Target
from monai_vafa.target.inference import LogitNetwork

from .case import AttackScores, Judges, Metrics, Volumes, attack_case, image_file, make_settings, named_cases
from .record import attack_facts, input_digests, raise_failures, root_cause, run_parameters, status_kept, versions
from .rows import Aim, AttackRows, Attacks, check_attacks
from .scoring import mean_rows, one_hot_pair

logger = logging.getLogger("monai_vafa.evaluation")


class AttackEvaluator(Evaluator):
    """
    Attacks cases, scores the network's predictions, and writes a result folder.

    It is an engine like MONAI's ``SupervisedEvaluator``: an iteration is one attack (or the clean image) on one case.
    Then ``state.batch`` and ``state.output``, which MONAI's handlers and metrics read, are lists of one dictionary; the
    output holds ``"image"`` (attacked), ``"label"`` and ``"pred"`` (one-hot, channel-first), ``"case"`` and
    ``"attack"``. At the end ``state.metrics`` holds the mean of each column for each attack, as in ``vafa_dsc``.

    A second run into the same folder goes on where the first one ended, also with further cases or attacks; its
    iterations are the rows that were missing. A case that fails is recorded and the others go on.

    Args:
        target: model under attack, see :func:`monai_vafa.target.open_target`.
        attacks: attacks to run, see :class:`AttackRows`; their names become part of file names.
        cases: image and label files; ``None`` for the target's own.
        output_dir: result folder, see :class:`~monai_vafa.results.folder.ResultFolder`; ``None`` writes nothing.
        segmentation_metrics, visibility_metrics, aim: see :func:`evaluate`.
        success_threshold: DSC in [0, 1] below which an attack has succeeded on a case.
        saved: names of the attacks whose volumes are written, beside the clean ones; ``None`` for all. A finished
            attack whose volumes are asked for later is run again.
        description: a line on model and data, shown beside every result; ``None`` for the target's.
        postprocessing, key_val_metric, val_handlers: as in MONAI's evaluators; metrics are over all iterations, those
            of the clean images among them.

    Attributes:
        cases: name -> image file.
        failed: name of a case -> error.
        results: the result folder, or ``None``.

    Raises:
        ValueError: If there are no cases or attacks, names are unusable, an attack does not suit the target, or the
            folder holds results of other parameters.
    """

    def __init__(
        self,
        *,
        target: Target,
        attacks: Attacks,
        cases: Sequence[Mapping[str, Any]] | None = None,
        output_dir: str | os.PathLike | None = None,
        segmentation_metrics: Metrics | None = None,
        visibility_metrics: Judges | None = None,
        aim: Aim | None = None,
        success_threshold: float = 0.5,
        saved: Sequence[str] | None = None,
        description: str | None = None,
        postprocessing: Transform | None = None,
        key_val_metric: dict[str, Metric] | None = None,
        val_handlers: Sequence | None = None,
    ) -> None:
        rows = AttackRows.of(attacks)
        self.target = target
        self.attacks = rows.build(target)
        check_attacks(self.attacks, target, aim)
        check_known("saved", saved or (), rows.rows, "the attacks ")
        self.items = named_cases(target.cases() if cases is None else list(cases), target.image_key)
        self.cases = {name: image_file(item, target.image_key) for name, item in self.items.items()}
        self.saved = {CLEAN, *(self.attacks if saved is None else saved)}
        self.settings = make_settings(target, segmentation_metrics, visibility_metrics, aim)
        self._success_threshold = check_number("success_threshold", success_threshold)
        if not 0 <= success_threshold <= 1:
            raise ValueError(f"success_threshold={success_threshold} must be a DSC in [0, 1].")
        self.failed: dict[str, str] = {}
        self.results: ResultFolder | None = None
        if output_dir is not None:
            parameters = run_parameters(target, self.attacks, self.settings, self.cases)
            inputs = {case: input_digests(target, item) for case, item in self.items.items()}
            self.results = ResultFolder(check_path("output_dir", output_dir), parameters, inputs)
        self._rows: tuple[CsvTable, CsvTable] = CsvTable(None, CASE_KEYS), CsvTable(None, CASE_KEYS)
        self._facts = attack_facts(self.attacks, rows.rows)
        self._description = target.description if description is None else description
        self._unlabelled = sum(item.get(target.label_key) is None for item in self.items.values())
        if self._unlabelled:
            self._description += f" Without labels ({self._unlabelled} of {len(self.items)} cases)."
        super().__init__(
            device=target.device,
            val_data_loader=[],
            postprocessing=postprocessing,
            key_val_metric=key_val_metric,
            decollate=False,
        )
        # Before handlers, which may look at these metrics at the same event.
        self.add_event_handler(Events.EPOCH_COMPLETED, self._set_metrics)
        for handler in ensure_tuple(val_handlers or ()):
            handler.attach(self)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as in MONAI's evaluators
        """
        Attack all cases that are not finished yet, and write the summary.

        Raises:
            ValueError: If another run has the folder.
        """
        with nullcontext() if self.results is None else self.results.locked():
            self.failed.clear()
            with status_kept(self._write_summary, self.failed):
                self.data_loader = self._missing_rows()
                self.state.epoch_length = None  # failures make it shorter than what is missing
                try:
                    super().run(global_epoch)
                except BaseException:
                    with suppress(OSError):  # such as a full disk, of which the error tells already
                        self._merge()
                    raise

    def raise_if_failed(self) -> None:
        """Make the process fail once everything that could be done has been written."""
        raise_failures(f"of {len(self.cases)} cases", self.failed)

    def _missing_rows(self) -> Iterator[tuple[AttackScores, Volumes]]:
        """Compute the rows that the result folder lacks: the work of the run happens here."""
        for case, item in self.items.items():
            paths = [p for key in (self.target.image_key, self.target.label_key) for p in ensure_tuple(item.get(key))]
            if lost := [str(path) for path in paths if path is not None and not Path(path).exists()]:
                self.failed[case] = f"FileNotFoundError: {', '.join(lost)} does not exist"
                logger.error("%s: %s", case, self.failed[case])
        rows = [CLEAN, *self.attacks]
        for number, (case, item) in enumerate(self.items.items(), 1):
            if case in self.failed:
                continue
            missing = rows if self.results is None else self.results.missing(case, rows, self.saved)
            if not missing:
                logger.info("%s: finished earlier", case)
                continue
            logger.info("case %d of %d, %s: %d rows to go", number, len(self.items), case, len(missing))
            try:
                yield from attack_case(self.target, item, self.attacks, self.settings, name=case, rows=missing)
            except Exception as error:
                logger.exception("%s failed; going on with the other cases", case)
                self.failed[case] = root_cause(error)

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        """Write the scores of one attack on one case, and lay them out for handlers."""
        scores, volumes = batchdata
        self._record(scores, volumes)
        names = {"case": scores.case, "attack": scores.attack}
        prediction, label = one_hot_pair(self.target, volumes.prediction[None], volumes.label[None])
        self.state.batch = [{"image": volumes.image, "label": label[0], **names}]
        self.state.output = [{"image": volumes.adversarial, "label": label[0], "pred": prediction[0], **names}]
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _record(self, scores: AttackScores, volumes: Volumes) -> None:
        if self.results is None:
            for table, rows in zip(self._rows, ([scores.case_row], scores.metric_rows), strict=True):
                table.add(rows)
            return
        case = scores.case
        write = partial(self.results.write_volume, case=case, affine=volumes.affine, like=self.cases[case])
        if scores.attack == CLEAN:
            write("predictions", name=LABEL, voxels=self._class_map(volumes.label))
        if scores.attack in self.saved:
            convert = self.target.to_file_units
            in_units = volumes.adversarial if convert is None else convert(volumes.adversarial)
            write("adversarial", name=scores.attack, voxels=in_units.float().cpu().numpy())
            write("predictions", name=scores.attack, voxels=self._class_map(volumes.prediction))
        self.results.add(scores.case_row, scores.metric_rows)

    def _class_map(self, labels: torch.Tensor) -> np.ndarray:
        small = labels.min() >= 0 and labels.max() <= 255
        return labels.cpu().numpy().astype(np.uint8 if small else np.int32)

    def _tables(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of ``cases.csv`` and of ``metrics.csv``, of the cases of this run."""
        tables = self.results.rows() if self.results is not None else [table.rows for table in self._rows]
        cases, metrics = ([row for row in rows if row["case"] in self.cases] for rows in tables)
        return cases, metrics

    def _means(self) -> dict[str, dict[str, Any]]:
        return mean_rows(*self._tables(), [CLEAN, *self.attacks])

    def _merge(self) -> None:
        if self.results is not None:
            self.results.merge(list(self.cases), [CLEAN, *self.attacks])

    def _set_metrics(self, engine: Engine) -> None:
        self._merge()
        for attack, means in self._means().items():
            numbers = {column: value for column, value in means.items() if isinstance(value, float)}
            engine.state.metrics.update({f"{attack}_{column}": value for column, value in numbers.items()})

    def _write_summary(self, status: str) -> None:
        if self.results is None:
            return
        target = self.target
        earlier = whole_json(self.results.folder / SUMMARY)  # of a run that may have seen what this one skips
        statistics = None
        if status != "running":
            statistics = run_statistics(
                *self._tables(),
                tested=[name for name, facts in self._facts.items() if facts["base"] == name],
                background=target.class_names[0] if target.activation == "softmax" else None,
                threshold=self._success_threshold,
            )
        self.results.write_summary(
            {
                "status": status,
                "description": self._description.strip(),
                "device": str(target.device),
                "checkpoint": None if target.checkpoint is None else os.fspath(target.checkpoint),
                "versions": versions(),
                "class_names": list(target.class_names),
                "activation": target.activation,
                "unlabelled": self._unlabelled,
                "probabilities": isinstance(target.network, LogitNetwork) or earlier.get("probabilities", False),
                "unmeasured": [name for name, metric in self.settings.visibility_metrics.items() if metric is None],
                "cases": self.cases,
                "failed": self.failed,
                "means": self._means(),
                "statistics": statistics,
                "attacks": self._facts,
                "threat_models": {name: attack.threat_model for name, attack in self.attacks.items()},
                "parameters": self.results.parameters,
            }
        )
