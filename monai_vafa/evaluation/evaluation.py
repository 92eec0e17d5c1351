# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Attack every case of a data set, score it, save it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from monai.data import Dataset
from monai.inferers import Inferer
from monai.metrics import CumulativeIterationMetric
from monai.transforms import LoadImage, apply_transform
from monai.utils import ensure_tuple

from monai_vafa.attacks import Attack, SlidingWindowAttack
from monai_vafa.outputs import check_activation
from monai_vafa.results.describe import describe
from monai_vafa.results.folder import ResultFolder

from .case import CaseRunner
from .checks import CLEAN, check_attacks, root_cause
from .provenance import case_names, file_sha256, versions
from .summary import summarize
from .volumes import VolumeScorer, oriented_like

__all__ = ["AttackEvaluation"]

logger = logging.getLogger(__name__)


class AttackEvaluation:
    """
    Runs attacks on the cases of a data set and writes what they did (see :class:`ResultFolder` for the files).

    For each case the clean image comes first, then each attack: adversarial volume, prediction, scores. A second
    run into the same folder goes on where the first one ended, also with further cases or attacks. A case that fails
    is recorded and the others go on.

    Args:
        dataset: items are dictionaries with the preprocessed image and label (channel-first MetaTensors, 3-D or 2-D);
            its ``data`` holds the file paths under the same keys.
        network: the network under attack, weights loaded.
        inferer: how the network predicts a whole volume.
        attacks: name -> attack, in the order of the report; names become part of file names.
        windows: how an attack covers a whole volume.
        segmentation_metrics: column name -> metric of ``(y_pred, y)``, both one-hot ``(1, classes, *spatial)``,
            giving one value per class (``reduction="none"``).
        visibility_metrics: column name -> metric of ``(y_pred, y)``, adversarial and clean image in [0, 1], giving
            one value; ``None`` in place of one that can't be measured here.
        class_names: names of the classes, for softmax background first.
        output_dir: result folder.
        intensity_range: lowest and highest value of the preprocessed images; ``None`` for each volume's own.
        to_file_units: turns a preprocessed image ``(C, *spatial)`` back into the units of the file it came from.
        checkpoint: the network's weights file; its hash is recorded.
        target: label ``(C, *spatial)`` -> the one that targeted attacks aim at.
        activation: what the network's logits mean, see :class:`monai_vafa.attacks.Attack`; the attacks must have the
            same. With ``"sigmoid"`` labels have a channel of 0 and 1 for each class, predictions too, and as there is
            no background channel, ``METRIC_foreground`` is the mean over all classes, like ``METRIC``.
        saved: names of the attacks whose volumes are written, beside the clean ones; ``None`` for all. A finished
            attack whose volumes are asked for only later is run again.
        description: a line on the data, shown beside every result.
        device: where to compute.
        image_key: key of the image.
        label_key: key of the label map.

    Raises:
        ValueError: When there are no cases or attacks, or names are unusable, or a window or ``activation`` does not
            suit an attack.
        FileNotFoundError: When ``checkpoint`` does not exist.
    """

    def __init__(
        self,
        *,
        dataset: Dataset,
        network: torch.nn.Module,
        inferer: Inferer,
        attacks: Mapping[str, Attack],
        windows: SlidingWindowAttack,
        segmentation_metrics: Mapping[str, CumulativeIterationMetric],
        visibility_metrics: Mapping[str, CumulativeIterationMetric | None],
        class_names: Sequence[str],
        output_dir: str | os.PathLike,
        intensity_range: Sequence[float] | None = (0.0, 1.0),
        to_file_units: Callable[[torch.Tensor], torch.Tensor] | None = None,
        checkpoint: str | os.PathLike | None = None,
        target: Callable[[torch.Tensor], torch.Tensor] | None = None,
        activation: str = "softmax",
        saved: Sequence[str] | None = None,
        description: str = "",
        device: torch.device | str = "cpu",
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        if len(dataset) == 0:
            raise ValueError("dataset is empty: the data list names no cases.")
        check_attacks(attacks, windows, target, check_activation(activation))
        if unknown := [name for name in saved or () if name not in attacks]:
            raise ValueError(f"saved names {unknown[0]!r}, which is none of the attacks {', '.join(attacks)}.")
        self.dataset = dataset
        self.network = network.to(device)
        self.attacks = dict(attacks)
        self.saved = list(attacks) if saved is None else list(saved)
        images = [os.fspath(ensure_tuple(item[image_key])[0]) for item in dataset.data]
        self.cases = dict(zip(case_names(images), images, strict=True))
        self.failed: dict[str, str] = {}
        self._keys = (image_key, label_key)
        if unlabelled := [case for case, item in zip(self.cases, dataset.data, strict=True) if label_key not in item]:
            description += (
                f" Without labels ({len(unlabelled)} of {len(self.cases)} cases): what the model says of the clean "
                "image stands in for them, so the clean scores say nothing."
            )
        self._facts = {
            "description": description.strip(),
            "device": str(torch.device(device)),
            "checkpoint": None if checkpoint is None else os.fspath(checkpoint),
            "versions": versions(),
            "class_names": list(class_names),
            "activation": activation,
            "threat_models": {name: attack.threat_model for name, attack in self.attacks.items()},
            "unmeasured": [name for name, metric in visibility_metrics.items() if metric is None],
        }
        parameters = {
            "attacks": describe(self.attacks),
            "windows": {"roi_size": describe(windows.roi_size), "overlap": windows.overlap},
            "inferer": describe(inferer),
            "preprocessing": describe(dataset.transform),
            "segmentation_metrics": describe(segmentation_metrics),
            "target": describe(target),
            "activation": activation,
            "checkpoint_sha256": None if checkpoint is None else file_sha256(checkpoint),
            "cases": self.cases,
        }
        self.results = ResultFolder(output_dir, parameters)
        self._scorer = VolumeScorer(
            network=self.network,
            inferer=inferer,
            segmentation_metrics=segmentation_metrics,
            class_names=class_names,
            activation=activation,
            device=torch.device(device),
            image_key=image_key,
            label_key=label_key,
        )
        self._runner = CaseRunner(
            scorer=self._scorer,
            attacks=self.attacks,
            windows=windows,
            target=target,
            visibility_metrics=visibility_metrics,
            intensity_range=intensity_range,
            to_file_units=to_file_units,
            saved=self.saved,
            results=self.results,
        )

    def run(self) -> None:
        """Attack all cases that are not finished yet, and write the summary."""
        self._write_summary("running")
        for index, case in enumerate(self.cases):
            if lost := [path for path in self._paths(index) if not Path(path).is_file()]:
                self.failed[case] = f"FileNotFoundError: {', '.join(map(str, lost))} does not exist"
                logger.error("%s: %s", case, self.failed[case])
        for index, case in enumerate(self.cases):
            if case in self.failed:
                continue
            missing = self._runner.missing(case)
            if not missing:
                logger.info("%s: finished earlier", case)
                continue
            logger.info("case %d of %d, %s: %d rows to go", index + 1, len(self.cases), case, len(missing))
            try:
                self._runner.run(case, self.dataset[index], missing)
            except Exception as error:
                logger.exception("%s failed; going on with the other cases", case)
                self.failed[case] = root_cause(error)
        self.results.flush(list(self.cases), [CLEAN, *self.attacks])
        self._write_summary("failed" if self.failed else "complete")

    def raise_if_failed(self) -> None:
        """
        Make the process fail once everything that could be done has been written.

        Raises:
            RuntimeError: When cases failed; names them.
        """
        if self.failed:
            errors = "; ".join(f"{case}: {error}" for case, error in self.failed.items())
            raise RuntimeError(f"{len(self.failed)} of {len(self.cases)} cases failed: {errors}")

    def score_image(self, case: str, image: str | os.PathLike) -> dict[str, float]:
        """
        Let the network predict another image in place of a case's own, and compare with the case's label.

        Args:
            case: name of the case.
            image: NIfTI file in the units of the case's own image, on any grid.

        Returns:
            mean of each segmentation metric over the classes, see :meth:`VolumeScorer.means`.
        """
        item = self.dataset.data[list(self.cases).index(case)]
        with oriented_like(image, self.cases[case]) as path:
            loaded = cast(dict[str, Any], apply_transform(self.dataset.transform, {**item, self._keys[0]: path}))
        if self._keys[1] not in item:
            reference = self.results.volume("predictions", case, "label")
            loaded[self._keys[1]] = LoadImage(ensure_channel_first=True)(reference)
        volumes = self._scorer.load(loaded, align=True)
        return self._scorer.means(self._scorer.score(self._scorer.predict(volumes.image), volumes.label))

    def _paths(self, index: int) -> list[str]:
        item = self.dataset.data[index]
        return [path for key in self._keys if key in item for path in ensure_tuple(item[key])]

    def _write_summary(self, status: str) -> None:
        cases, metrics = ([row for row in rows if row["case"] in self.cases] for rows in self.results.rows())
        self.results.write_summary(
            {
                "status": status,
                **self._facts,
                "cases": self.cases,
                "failed": self.failed,
                "means": summarize(cases, metrics, [CLEAN, *self.attacks]),
                "parameters": self.results.parameters,
            }
        )
