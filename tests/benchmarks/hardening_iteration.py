# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Time of one VAFT iteration of the demo with the quick setting, over the full one and over a training without attack.

python tests/benchmarks/hardening_iteration.py
"""

from __future__ import annotations

import logging
import statistics
import time
from pathlib import Path

import fire
import torch
from monai.bundle import ConfigWorkflow
from monai.engines import SupervisedTrainer

logger = logging.getLogger(__name__)

BUNDLE = Path(__file__).parents[2] / "bundles" / "vaft_training"


def trainer(*overlays: str, attacked: bool = True) -> SupervisedTrainer:
    """A trainer of the bundle on one batch of noise, since time does not depend on what is in the image."""
    files = [str(BUNDLE / "configs" / file) for file in ("train.json", *overlays)]
    get = ConfigWorkflow(files, workflow_type="train", logging_file=False, bundle_root=str(BUNDLE)).parser
    sides = get.get_parsed_content("roi_size")
    classes = get.get_parsed_content("num_classes")
    made = SupervisedTrainer(
        device=get.get_parsed_content("device"),
        max_epochs=1,
        train_data_loader=[
            {"image": torch.rand(1, 1, *sides), "label": torch.randint(0, classes, (1, 1, *sides)).float()}
        ],
        network=get.get_parsed_content("network"),
        optimizer=get.get_parsed_content("optimizer"),
        loss_function=get.get_parsed_content("loss"),
    )
    made.logger.setLevel(logging.WARNING)
    if attacked:
        get.get_parsed_content("hardening").attach(made)
    return made


def main(rounds: int = 5) -> None:
    """
    Measure.

    Args:
        rounds: rounds of one iteration each; the ratios are taken within each round.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trainers = {"plain": trainer(attacked=False), "quick": trainer(), "full": trainer("full.json")}

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
