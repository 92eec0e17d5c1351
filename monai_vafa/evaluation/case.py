# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Attack one case: volumes and scores of every attack on it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric

from monai_vafa.attacks import Attack, SlidingWindowAttack
from monai_vafa.metrics import changed_voxel_rate
from monai_vafa.results.folder import ResultFolder

from .checks import CLEAN
from .scoring import visibility_scores
from .volumes import VolumeScorer

__all__ = ["CaseRunner"]

logger = logging.getLogger(__name__)

_KINDS = ("adversarial", "predictions")


class CaseRunner:
    """
    Runs attacks on one case at a time, and writes volumes and rows.

    Args:
        scorer: asks the network.
        attacks: name -> attack.
        windows: how an attack covers a whole volume.
        target: label ``(C, *spatial)`` -> the one that targeted attacks aim at.
        visibility_metrics: see :func:`visibility_scores`.
        intensity_range: likewise.
        to_file_units: turns a preprocessed image ``(C, *spatial)`` back into the units of the file it came from.
        saved: names of the attacks whose volumes are written.
        results: where to.
    """

    def __init__(
        self,
        *,
        scorer: VolumeScorer,
        attacks: Mapping[str, Attack],
        windows: SlidingWindowAttack,
        target: Callable[[torch.Tensor], torch.Tensor] | None,
        visibility_metrics: Mapping[str, CumulativeIterationMetric | None],
        intensity_range: Sequence[float] | None,
        to_file_units: Callable[[torch.Tensor], torch.Tensor] | None,
        saved: Sequence[str],
        results: ResultFolder,
    ) -> None:
        self.scorer = scorer
        self.attacks = attacks
        self.windows = windows
        self.target = target
        self.visibility_metrics = visibility_metrics
        self.intensity_range = intensity_range
        self.to_file_units = to_file_units
        self.saved = {CLEAN, *saved}
        self.results = results

    def missing(self, case: str) -> list[str]:
        """Names of the attacks, the clean image first, whose row or wanted volumes are not there."""
        finished = self.results.finished(case)
        return [
            name
            for name in (CLEAN, *self.attacks)
            if name not in finished
            or (name in self.saved and not all(self.results.volume(kind, case, name).is_file() for kind in _KINDS))
        ]

    def run(self, case: str, item: Mapping[str, Any], names: Sequence[str]) -> None:
        """
        Attack a case.

        Args:
            case: its name.
            item: its preprocessed image and label.
            names: names of the attacks to run.
        """
        volumes = self.scorer.load(item)
        clean, label, affine = volumes.image, volumes.label, volumes.affine
        clean_labels = self.scorer.predict(clean)
        self.results.write_volume("predictions", case, "label", _stored(label.byte()), affine)
        for name in names:
            logger.info("%s: %s", case, name)
            adversarial, prediction, seconds = clean, clean_labels, 0.0
            if name != CLEAN:
                attack = self.attacks[name]
                aim = self.target(label[0])[None] if attack.targeted and self.target is not None else label
                start = time.perf_counter()
                adversarial = self.windows(attack, self.scorer.network, clean, aim)
                seconds = time.perf_counter() - start
                prediction = self.scorer.predict(adversarial)
            if name in self.saved:
                in_units = adversarial if self.to_file_units is None else self.to_file_units(adversarial[0])[None]
                self.results.write_volume("adversarial", case, name, _stored(in_units.float()), affine)
                self.results.write_volume("predictions", case, name, _stored(prediction.byte()), affine)
            per_class = self.scorer.score(prediction, label)
            self.results.add(
                {
                    "case": case,
                    "attack": name,
                    **self.scorer.means(per_class),
                    **visibility_scores(self.visibility_metrics, adversarial, clean, self.intensity_range),
                    "changed_voxel_rate": float(changed_voxel_rate(prediction, clean_labels)),
                    "steps": getattr(self.attacks.get(name), "steps", 0),
                    "seconds": seconds,
                },
                [
                    {"case": case, "attack": name, "class": cls, **{key: per_class[key][i] for key in per_class}}
                    for i, cls in enumerate(self.scorer.class_names)
                ],
            )


def _stored(volume: torch.Tensor) -> np.ndarray:
    """What goes into a file of a batch of one."""
    return volume[0].cpu().numpy()
