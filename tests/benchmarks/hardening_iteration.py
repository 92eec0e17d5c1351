# SPDX-License-Identifier: Apache-2.0
"""Time of one VAFT iteration of the demo with the quick setting, over the full one and over a training without attack.

python tests/benchmarks/hardening_iteration.py
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import fire
import torch
from monai.engines import SupervisedTrainer

from monai_vafa.handlers import VAFTHandler
from monai_vafa.hardening import open_training

logger = logging.getLogger(__name__)

SETTINGS = {"plain": None, "quick": {"steps": 5, "step_size": 3, "amp": "bfloat16"}, "full": {"steps": 20}}


def trainer(folder: str, setting: Mapping[str, Any] | None) -> SupervisedTrainer:
    """The demo's training on one batch of noise, since time does not depend on what is in the image."""
    training = open_training("unetr_inference", ckpt_dir=folder, output_dir=folder)
    bundle, sides = training.trainer, training.target.windows.roi_size
    classes = len(training.target.class_names)
    made = SupervisedTrainer(
        device=bundle.state.device,
        max_epochs=1,
        train_data_loader=[
            {"image": torch.rand(1, 1, *sides), "label": torch.randint(0, classes, (1, 1, *sides)).float()}
        ],
        network=bundle.network,
        optimizer=bundle.optimizer,
        loss_function=bundle.loss_function,
    )
    made.logger.setLevel(logging.WARNING)
    if setting is not None:
        VAFTHandler(attack=training.attack("vafa", setting)).attach(made)
    return made


def main(rounds: int = 5) -> None:
    """
    Measure.

    Args:
        rounds: rounds of one iteration each; the ratios are taken within each round.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        trainers = {name: trainer(folder, setting) for name, setting in SETTINGS.items()}

    def seconds(made: SupervisedTrainer) -> float:
        start = time.perf_counter()
        made.state.max_epochs = made.state.epoch + 1
        made.run()
        return time.perf_counter() - start

    seconds(trainers["quick"])
    ratios = []
    for _ in range(rounds):
        took = {name: seconds(made) for name, made in trainers.items()}
        ratios.append((took["quick"] / took["full"], took["quick"] / took["plain"]))
        logger.info("%s", ", ".join(f"{name} {value:.2f} s" for name, value in took.items()))
    for name, values in zip(("quick / full", "quick / plain"), zip(*ratios, strict=True), strict=True):
        logger.info("median %s %.3f (%.3f to %.3f)", name, statistics.median(values), min(values), max(values))


if __name__ == "__main__":
    fire.Fire(main)
