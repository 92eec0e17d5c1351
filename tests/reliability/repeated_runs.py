# SPDX-License-Identifier: Apache-2.0
"""
Runs of which every repetition must write the same: an attack, a benchmark and a training of a tiny bundle.

``python -m tests.reliability.repeated_runs ROOT OUTPUT`` makes all of them in a process of its own.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from tests.target import zoo

BUNDLES = Path(__file__).parents[2] / "bundles"
# What draws random numbers, what searches, and what only rounds.
ATTACKS = {
    "gn": {},
    "pgd": {"steps": 1},
    "square": {"steps": 2},
    "pfa": {"steps": 1},
    "vafa": {"steps": 2},
}
TRAINING = {"attack": "pgd", "attack_parameters": {"steps": 2}, "validation_parameters": {"steps": 1}, "epochs": 2}
# Draws nothing, so that the number of workers can't matter.
MIDDLE = [{"_target_": "CenterSpatialCropd", "keys": ["image", "label"], "roi_size": [16, 12, 8]}]


def prepare(root: Path) -> Path:
    """A bundle with its data, and a folder of one of its cases."""
    data = zoo.softmax(root).data
    for folder in ("imagesTr", "labelsTr"):
        (root / "one_case" / folder).mkdir(parents=True)
        shutil.copy(data / folder / "case0.nii.gz", root / "one_case" / folder)
    return root


def attack(root: Path, output: Path, **settings: Any) -> Path:
    given = {"bundle": str(root / "softmax"), "dataset_dir": str(root / "one_case"), "attacks": ATTACKS}
    given |= {"visibility_metrics": {}, **settings}
    _run("vafa_attack/configs/attack.json", output_dir=str(output), **given)
    return output


def benchmark(root: Path, output: Path) -> Path:
    """Of two models, that transfer to each other."""
    models = {name: {"bundle": str(root / "softmax")} for name in ("one", "two")}
    given: dict[str, Any] = {"models": models, "dataset_dir": str(root / "one_case")}
    given |= {"attacks": {name: ATTACKS[name] for name in ("gn", "vafa")}, "sweeps": {"vafa": {"q_max": [30]}}}
    given |= {"checklist": True, "checklist_sweeps": {}, "checklist_roles": {"noise": "gn", "frequency": "vafa"}}
    _run("vafa_attack/configs/benchmark.json", output_dir=str(output), visibility_metrics={}, **given)
    return output


def training(root: Path, output: Path, *, workers: int = 0, random: bool = True) -> Path:
    """With its losses in ``losses.json``."""
    overrides = {f"{part}#dataloader#num_workers": workers for part in ("train", "validate")}
    overrides |= {} if random else {"train#random_transforms": MIDDLE}
    given: dict[str, Any] = {"bundle": str(root / "softmax"), "dataset_dir": str(root / "data")}
    given |= {"ckpt_dir": str(output)}
    given |= {"overrides": "$" + repr(overrides).replace("#", "\\x23"), "tensorboard": False}
    given |= {**TRAINING, "val_interval": 1}
    made = ConfigWorkflow(str(BUNDLES / "vaft_training/configs/train.json"), "", logging_file=False, **given)
    made.initialize()
    trainer, losses = made.parser.get_parsed_content("train#trainer"), []

    @trainer.on(Events.ITERATION_COMPLETED)
    def _(engine: Any) -> None:
        logged = engine.state.output[0]
        losses.append({name: float(value).hex() for name, value in logged.items() if name.startswith("loss")})

    made.run()
    made.finalize()
    (output / "losses.json").write_text(json.dumps(losses))
    return output


def _run(config: str, **settings: Any) -> None:
    made = ConfigWorkflow(str(BUNDLES / config), "", logging_file=False, **settings)
    for step in (made.initialize, made.run, made.finalize):
        step()


def main() -> None:
    torch.set_num_threads(1)
    root, output = map(Path, sys.argv[1:])
    for make in (attack, benchmark, training):
        make(root, output / make.__name__)


if __name__ == "__main__":
    main()
