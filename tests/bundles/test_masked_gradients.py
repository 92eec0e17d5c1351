# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The checklist on a model that only looks robust."""

from __future__ import annotations

import json

import pytest
import torch

from .runs import BUNDLES, workflow

ONE_CASE = "$monai.data.load_decathlon_datalist(@datalist_file, True, @datalist_section)[:1]"


class HardQuantized(torch.nn.Module):
    """Rounds its input to 32 gray values: hardly another prediction, but no gradient."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(torch.round(image * 31) / 31)


def attack(name, **parameters):
    return {"_target_": f"monai_vafa.attacks.{name}", "_mode_": "callable", **parameters}


@pytest.mark.slow
def test_checklist_catches_masked_gradients_and_lets_a_plain_model_pass(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    settings = {
        "datalist": ONE_CASE,
        "attacks": {
            "gn": attack("GaussianNoise", sigma=4),
            "quantize_only": attack("QuantizeOnly", q=20),
            "fgsm": attack("FastGradientSign", eps=4),
            "pgd": attack("ProjectedGradientDescent", eps=4, steps=4, restarts=1),
            "square": attack("SquareAttack", eps=4, steps=10),
            "vafa": attack("VolumetricFrequencyAttack", q_max=20, steps=2),
        },
        "sweeps": {},
        "worst_cases": {},
        "checklist": True,
        "checklist_sweeps": {"pgd": {"eps": [8, 128], "steps": [8], "seed": [1]}},
        "visibility_metrics": {"psnr": {"_target_": "monai.metrics.PSNRMetric", "max_val": 1.0}},
        "output_dir": str(tmp_path / "out"),
    }
    bundle = {"workflow_type": "infer", "bundle_root": str(BUNDLES / "vafa_attack"), **settings}
    plain = workflow("vafa_attack", "benchmark.json", **bundle).parser.get_parsed_content("unetr#network")
    masked = {
        "unetrpp#network": HardQuantized(plain),
        "unetrpp#evaluation#output_dir": "$@output_dir + '/masked'",
        "evaluations": {"unetr": "@unetr#evaluation", "masked": "@unetrpp#evaluation"},
    }
    made = workflow("vafa_attack", "benchmark.json", **bundle, **masked)
    made.initialize()
    made.run()
    made.finalize()
    checklist = json.loads((tmp_path / "out" / "checklist.json").read_text())
    verdicts = {model: {line["check"]: line for line in lines} for model, lines in checklist.items()}
    for check in ("white box beats transfer", "white box beats gradient-free"):
        assert verdicts["unetr"][check]["verdict"] == "pass"
    caught = verdicts["masked"]["white box beats transfer"]
    assert caught["verdict"] == "fail"
    assert "gradients may be masked" in caught["reason"]
