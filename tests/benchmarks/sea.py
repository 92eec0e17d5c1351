# SPDX-License-Identifier: Apache-2.0
"""
AutoPGD beside the released code of SEA (github.com/nmndeep/Robust-Segmentation): share of voxels left right.

    python tests/benchmarks/sea.py ROBUST_SEGMENTATION

with the folder of a clone; about a minute. Random networks of which every voxel is right at first.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType

import fire
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from monai_vafa.attacks import AutoPGD
from monai_vafa.losses import JensenShannonLoss, MaskedCrossEntropyLoss
from tests.attacks.test_most_damaging import right, toy

logger = logging.getLogger(__name__)

LOSSES = {"mask-ce-avg": MaskedCrossEntropyLoss(), "js-avg": JensenShannonLoss()}


def main(clone: str, eps: float = 24, steps: int = 100, networks: int = 24) -> None:
    """Log the means over the networks, and on how many AutoPGD leaves no more voxels right."""
    attack = released(clone)
    for name, loss in LOSSES.items():
        shares = []
        for seed in range(networks):
            network, image, label = toy(seed, size=12)
            network.eval().requires_grad_(False)
            # The cross entropy steers the steps, as in their tools/infer.py.
            theirs, *_ = attack(
                network, image, label[:, 0], None, eps=eps / 255, n_iter=steps, loss=name, track_loss="ce-avg"
            )
            ours = AutoPGD(eps=eps, steps=steps, random_start=False, loss=loss)(network, image, label)
            shares.append([float(right(network, each, label)) / label.numel() for each in (theirs, ours)])
        table = torch.tensor(shares)
        fewer = int((table[:, 1] <= table[:, 0]).sum())
        means = table.mean(0).tolist()
        logger.info("%s: SEA %.4f, AutoPGD %.4f, no more on %d of %d", name, *means, fewer, networks)


def released(clone: str):
    """Their apgd_largereps, whose module imports norms that an attack within L-inf does not use."""
    stub = ModuleType("autoattack.other_utils")
    stub.L0_norm = stub.L1_norm = stub.L2_norm = None
    stub.Logger = lambda path: None
    sys.modules.setdefault("autoattack", ModuleType("autoattack"))
    sys.modules.setdefault("autoattack.other_utils", stub)
    sys.path.insert(0, str(Path(clone) / "semseg"))
    from attacker import apgd_largereps

    return apgd_largereps


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.Fire(main)
