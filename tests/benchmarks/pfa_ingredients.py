# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What each part of PerceptualFrequencyAttack gives, on one demo subject and the demo's UNETR.

Runs ``benchmark.json`` with other attacks; a few minutes on 2 CPU cores. The table of docs/attack.md.

python tests/benchmarks/pfa_ingredients.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fire
from monai.bundle import ConfigWorkflow

CONFIG = Path(__file__).parents[2] / "bundles" / "vafa_attack" / "configs" / "benchmark.json"
DICE_CE = {
    **{"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True, "squared_pred": True},
    **{"smooth_nr": 0.0, "smooth_dr": 1e-6},
}


def attack(name: str, **parameters: Any) -> dict[str, Any]:
    """Factory of an attack, as in the config."""
    return {"_target_": f"monai_vafa.attacks.{name}", "_mode_": "callable", "steps": 10, **parameters}


def pfa(**parameters: Any) -> dict[str, Any]:
    """The attack with some of its parts left out."""
    return attack("PerceptualFrequencyAttack", **{"rmse": 4, **parameters})


ATTACKS = {
    "bim": attack("BasicIterative", eps=4),
    "rmse_ball": pfa(contrast_masking=0, band_weights=None, loss=DICE_CE),
    "local_contrast": pfa(band_weights=None, loss=DICE_CE),
    "cospgd_loss": pfa(band_weights=None),
    "pfa": pfa(),
    "pfa_rmse6": pfa(rmse=6),
}


def main(output_dir: str = "output/pfa_ingredients") -> None:
    """
    Measure.

    Args:
        output_dir: result folder.
    """
    workflow = ConfigWorkflow(
        str(CONFIG),
        workflow_type="infer",
        attacks=ATTACKS,
        sweeps={},
        worst_cases={},
        transfer=False,
        evaluations={"unetr": "@unetr#evaluation"},
        datalist="$monai.data.load_decathlon_datalist(@datalist_file, True, @datalist_section)[:1]",
        output_dir=output_dir,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


if __name__ == "__main__":
    fire.Fire(main)
