# SPDX-License-Identifier: Apache-2.0
"""What a process holds before and after long runs in it."""

from __future__ import annotations

import gc
import os
import threading
from inspect import signature
from pathlib import Path

import torch

TRAIN = Path(__file__).parents[2] / "bundles" / "vaft_training" / "configs" / "train.json"
WARM_UP, CALLS = 200, 1000


def held(networks, engines=()):
    """Memory in bytes and numbers of all else that could pile up."""
    gc.collect()
    modules = [module for network in networks for module in network.modules()]
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    of_weights = [weight._backward_hooks or () for network in networks for weight in network.parameters()]
    return {
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "objects": len(gc.get_objects()),
        "hooks": sum(len(getattr(module, kind)) for module in modules for kind in kinds) + sum(map(len, of_weights)),
        "modes": [module.training for module in modules],
        "handlers": [sum(map(len, engine._event_handlers.values())) for engine in engines],
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


class Refusing(torch.nn.Sequential):
    """A small network that fails on its second window while it refuses."""

    def __init__(self):
        first, last = torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.Conv3d(4, 3, 1)
        super().__init__(first, torch.nn.BatchNorm3d(4), torch.nn.Softplus(), torch.nn.Dropout(), last)
        self.left = -1

    def forward(self, x):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("refused")
        return super().forward(x)


def thousand_attacks():
    """Attacks of the roster in turn on windows of a volume, each seventh of which fails; held early and at the end."""
    from monai_vafa.attacks import ROSTER, SlidingWindowAttack

    torch.manual_seed(0)
    network = Refusing()
    image, label = torch.rand(1, 1, 8, 8, 12), torch.randint(0, 3, (1, 1, 8, 8, 12))
    small = {"steps": 2, "block_size": 4, "queries": 4}
    attacks = []
    for entry in ROSTER.values():
        known = signature(entry.attack).parameters
        attacks.append(entry.attack(**{**entry.parameters, **{k: v for k, v in small.items() if k in known}}))
    windows = SlidingWindowAttack(8)
    for call in range(WARM_UP + CALLS):
        if call == WARM_UP:
            before = held([network])
        attack = attacks[call % len(attacks)]
        network.left = 2 if call % 7 == 0 else -1
        try:
            windows.run(attack, network, image, label)
        except RuntimeError as error:
            if str(error) != "refused":
                raise
    return before, held([network])


def thousand_iterations(bundle, data, ckpt_dir):
    """Epochs of a training under attack with validations and checkpoints; held early and at the end."""
    from ignite.engine import Events
    from monai.bundle import ConfigWorkflow

    made = ConfigWorkflow(
        str(TRAIN),
        workflow_type="train",
        logging_file=False,
        bundle=str(bundle),
        dataset_dir=str(data),
        ckpt_dir=str(ckpt_dir),
        attack_parameters={"steps": 1},
        validation_parameters={"steps": 1},
        epochs=(WARM_UP + CALLS) // 20,
        iterations_per_epoch=20,
        val_interval=5,
        tensorboard=False,
        device="cpu",
    )
    made.initialize()
    get, seen = made.parser.get_parsed_content, {}
    trainer = get("train#trainer")
    engines = [trainer, get("validate#evaluator"), get("validate#clean_evaluator")]

    def look(engine):
        if engine.state.iteration in (WARM_UP, WARM_UP + CALLS):
            files = {path.name: path.stat().st_size for path in Path(ckpt_dir).iterdir()}
            seen[engine.state.iteration] = {**held([trainer.network], engines), **files}

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    made.run()
    made.finalize()
    return seen[WARM_UP], seen[WARM_UP + CALLS]
