# SPDX-License-Identifier: Apache-2.0
"""Time of one VAFA step over one forward and backward pass to the input, for UNETR as in the paper.

python tests/benchmarks/attack_step.py
"""

from __future__ import annotations

import logging
import statistics
import time

import fire
import torch
from monai.networks.nets import UNETR

from monai_vafa.attacks import VolumetricFrequencyAttack

logger = logging.getLogger(__name__)


def main(rounds: int = 5, steps: int = 4, threads: int = 0) -> None:
    """
    Measure.

    Args:
        rounds: pairs of measurements; the ratio is taken within each pair.
        steps: attack steps per measurement, and passes of the network alone.
        threads: CPU threads, 0 for torch's own choice.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if threads:
        torch.set_num_threads(threads)
    network = UNETR(1, 14, (96, 96, 96), feature_size=16, hidden_size=768, mlp_dim=3072, num_heads=12).eval()
    network.requires_grad_(False)
    image, label = torch.rand(1, 1, 96, 96, 96), torch.randint(0, 14, (1, 1, 96, 96, 96))
    attack = VolumetricFrequencyAttack(block_size=32, similarity="ssim", steps=steps)

    def passes() -> None:
        for _ in range(steps):
            x = image.clone().requires_grad_()
            network(x).sum().backward()

    def seconds(work) -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / steps

    passes()
    ratios = []
    for _ in range(rounds):
        alone, attacked = seconds(passes), seconds(lambda: attack.run(network, image, label))
        ratios.append(attacked / alone)
        logger.info("forward + backward %.2f s, attack step %.2f s, ratio %.3f", alone, attacked, ratios[-1])
    logger.info("median ratio %.3f (%.3f to %.3f)", statistics.median(ratios), min(ratios), max(ratios))


if __name__ == "__main__":
    fire.Fire(main)
