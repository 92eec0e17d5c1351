# SPDX-License-Identifier: Apache-2.0
"""What each part of PerceptualFrequencyAttack gives, on one demo subject and the demo's UNETR.

A few minutes on 2 CPU cores. The table of docs/attack.md.

python tests/benchmarks/pfa_ingredients.py
"""

from __future__ import annotations

import logging

import fire

from monai_vafa.evaluation import evaluate
from monai_vafa.losses import DiceCrossEntropyLoss
from monai_vafa.target import open_target

logger = logging.getLogger(__name__)

PLAIN = {"attack": "pfa", "contrast_masking": 0, "band_weights": None, "loss": DiceCrossEntropyLoss()}
ATTACKS = {
    "bim": {"eps": 4},
    "rmse_ball": PLAIN,
    "local_contrast": {"attack": "pfa", "band_weights": None, "loss": DiceCrossEntropyLoss()},
    "cospgd_loss": {"attack": "pfa", "band_weights": None},
    "pfa": {"rmse": 4},
    "pfa_rmse6": {"attack": "pfa", "rmse": 6},
}


def main(steps: int = 10) -> None:
    """
    Measure.

    Args:
        steps: steps of every attack.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    target = open_target("unetr_inference")
    attacks = {name: {**parameters, "steps": steps} for name, parameters in ATTACKS.items()}
    for result in evaluate(target, attacks, target.cases()[:1], keep_volumes=False):
        visibility = ", ".join(f"{name} {value:.4f}" for name, value in result.visibility.items() if value is not None)
        logger.info("%s: DSC %.4f, %s", result.attack, result.scores["dsc"], visibility)


if __name__ == "__main__":
    fire.Fire(main)
