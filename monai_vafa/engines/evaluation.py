# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Attack every case of a data set, score it, save it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from monai.data import Dataset
from monai.inferers import Inferer
from monai.metrics import CumulativeIterationMetric
from monai.utils import ensure_tuple, ensure_tuple_rep

from monai_vafa.attacks import Attack, SlidingWindowAttack
from monai_vafa.attacks.base import check_image_values
from monai_vafa.attacks.objective import as_logits, predicted_labels
from monai_vafa.metrics import changed_voxel_rate

from .describe import describe
from .provenance import case_names, file_sha256, versions
from .results import ResultFolder
from .scoring import nan_mean, segmentation_scores, visibility_scores
from .summary import summarize

__all__ = ["CLEAN", "AttackEvaluation"]

logger = logging.getLogger(__name__)

CLEAN = "clean"


class AttackEvaluation:
    """
    Runs attacks on the cases of a data set and writes what they did (see :class:`ResultFolder` for the files).

    For each case the clean image comes first, then each attack: adversarial volume, prediction, scores. A second
    run into the same folder goes on where the first one ended. A case that fails is recorded and the others go on.

    Args:
        dataset: items are dictionaries with the preprocessed image and label (channel-first MetaTensors); its
            ``data`` holds the file paths under the same keys.
        network: the network under attack, weights loaded.
        inferer: how the network predicts a whole volume.
        attacks: name -> attack, in the order of the report; names become part of file names.
        windows: how an attack covers a whole volume.
        segmentation_metrics: column name -> metric of ``(y_pred, y)``, both one-hot ``(1, classes, *spatial)``,
            giving one value per class (``reduction="none"``).
        visibility_metrics: column name -> metric of ``(y_pred, y)``, adversarial and clean image in [0, 1], giving
            one value; ``None`` in place of one that can't be measured here.
        class_names: names of the classes, background first.
        output_dir: result folder.
        intensity_range: lowest and highest value of the preprocessed images; ``None`` for each volume's own.
        to_file_units: turns a preprocessed image ``(C, *spatial)`` back into the units of the file it came from.
        checkpoint: the network's weights file; its hash is recorded.
        target: class map ``(C, *spatial)`` -> the map that targeted attacks aim at.
        description: a line on the data, shown beside every result.
        device: where to compute.
        image_key: key of the image.
        label_key: key of the label map.

    Raises:
        ValueError: When there are no cases or attacks, or names are unusable, or a window does not suit an attack.
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
        description: str = "",
        device: torch.device | str = "cpu",
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        if len(dataset) == 0:
            raise ValueError("dataset is empty: the data list names no cases.")
        if not attacks:
            raise ValueError("attacks is empty: name at least one.")
        for name, attack in attacks.items():
            if name == CLEAN or not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(
                    f"attack name {name!r} must be made of letters, digits, - and _, and not be {CLEAN!r}."
                )
            if attack.targeted and target is None:
                raise ValueError(
                    f"attack {name!r} is targeted, so target must say what it aims at, e.g. EraseClass(1)."
                )
            if min(roi_size := ensure_tuple_rep(windows.roi_size, 3)) > 0:
                attack.check_image((1, 1, *roi_size))
        self.dataset = dataset
        self.network = network.to(device)
        self.inferer = inferer
        self.attacks = dict(attacks)
        self.windows = windows
        self.segmentation_metrics = dict(segmentation_metrics)
        self.visibility_metrics = dict(visibility_metrics)
        self.class_names = list(class_names)
        self.intensity_range = intensity_range
        self.to_file_units = to_file_units
        self.target = target
        self.device = torch.device(device)
        self.image_key = image_key
        self.label_key = label_key
        images = [os.fspath(ensure_tuple(item[image_key])[0]) for item in dataset.data]
        self.cases = dict(zip(case_names(images), images, strict=True))
        self.failed: dict[str, str] = {}
        self._facts = {
            "description": description,
            "device": str(self.device),
            "checkpoint": None if checkpoint is None else os.fspath(checkpoint),
            "versions": versions(),
            "class_names": self.class_names,
            "threat_models": {name: attack.threat_model for name, attack in self.attacks.items()},
            "unmeasured": [name for name, metric in self.visibility_metrics.items() if metric is None],
        }
        self._parameters = {
            "attacks": describe(self.attacks),
            "windows": {"roi_size": describe(windows.roi_size), "overlap": windows.overlap},
            "inferer": describe(inferer),
            "preprocessing": describe(dataset.transform),
            "target": describe(target),
            "checkpoint_sha256": None if checkpoint is None else file_sha256(checkpoint),
        }
        self.results = ResultFolder(output_dir, self._parameters, self.cases)

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
            missing = [name for name in (CLEAN, *self.attacks) if name not in self.results.finished(case)]
            if not missing:
                logger.info("%s: finished earlier", case)
                continue
            try:
                self._run_case(index, case, missing)
            except Exception as error:
                logger.exception("%s failed; going on with the other cases", case)
                cause = _root_cause(error)
                self.failed[case] = f"{type(cause).__name__}: {cause}"
        self.results.flush(list(self.cases))
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

    def _run_case(self, index: int, case: str, missing: Sequence[str]) -> None:
        item = self.dataset[index]
        affine = item[self.image_key].affine.cpu().numpy()
        image, label = (item[key].as_tensor()[None].to(self.device) for key in (self.image_key, self.label_key))
        check_image_values(image)
        if label.shape[2:] != image.shape[2:]:
            raise ValueError(f"label of shape {tuple(label.shape)} does not fit an image of {tuple(image.shape)}.")
        clean_labels = self._predict(image)
        self.results.write_volume("predictions", case, "label", label[0].byte().cpu().numpy(), affine)
        for name in missing:
            logger.info("case %d of %d, %s: %s", index + 1, len(self.cases), case, name)
            adversarial, prediction, seconds = image, clean_labels, 0.0
            if name != CLEAN:
                attack = self.attacks[name]
                aim = self.target(label[0])[None] if attack.targeted and self.target is not None else label
                start = time.perf_counter()
                adversarial = self.windows(attack, self.network, image, aim)
                seconds = time.perf_counter() - start
                prediction = self._predict(adversarial)
            in_units = adversarial[0] if self.to_file_units is None else self.to_file_units(adversarial[0])
            self.results.write_volume("adversarial", case, name, in_units.float().cpu().numpy(), affine)
            self.results.write_volume("predictions", case, name, prediction[0].byte().cpu().numpy(), affine)
            per_class = segmentation_scores(self.segmentation_metrics, prediction, label, len(self.class_names))
            self.results.add(
                {
                    "case": case,
                    "attack": name,
                    **{key: nan_mean(values) for key, values in per_class.items()},
                    **visibility_scores(self.visibility_metrics, adversarial, image, self.intensity_range),
                    "changed_voxel_rate": float(changed_voxel_rate(prediction, clean_labels)),
                    "steps": getattr(self.attacks.get(name), "steps", 0),
                    "seconds": seconds,
                },
                [
                    {"case": case, "attack": name, "class": cls, **{key: per_class[key][i] for key in per_class}}
                    for i, cls in enumerate(self.class_names)
                ],
            )

    def _paths(self, index: int) -> list[str]:
        item = self.dataset.data[index]
        return [path for key in (self.image_key, self.label_key) for path in ensure_tuple(item[key])]

    def _predict(self, image: torch.Tensor) -> torch.Tensor:
        self.network.eval()
        with torch.no_grad():
            logits = as_logits(self.inferer(image, self.network))
        if logits.shape[1] != len(self.class_names):
            raise ValueError(
                f"the network knows {logits.shape[1]} classes, but class_names are {len(self.class_names)}: "
                f"{', '.join(self.class_names)}."
            )
        return predicted_labels(logits)

    def _write_summary(self, status: str) -> None:
        cases, metrics = self.results.rows()
        self.results.write_summary(
            {
                "status": status,
                **self._facts,
                "cases": self.cases,
                "failed": self.failed,
                "means": summarize(cases, metrics, [CLEAN, *self.attacks]),
                "parameters": self._parameters,
            }
        )


def _root_cause(error: BaseException) -> BaseException:
    """MONAI says which transform failed, and the reason only behind it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
