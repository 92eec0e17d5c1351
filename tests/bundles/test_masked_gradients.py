# SPDX-License-Identifier: Apache-2.0
"""The checklist on a model that only looks robust."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from monai_vafa.target import open_target

from .runs import workflow

ONE_CASE = "${name: target.cases()[:1] for name, target in @targets.items()}"


class HardQuantized(torch.nn.Module):
    """Rounds its input to 32 intensity levels: hardly another prediction, but no gradient."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(torch.round(image * 31) / 31)


@pytest.mark.slow
def test_checklist_catches_masked_gradients_and_lets_a_plain_model_pass(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    settings = {
        "cases": ONE_CASE,
        "attacks": {
            "gn": {},
            "quantize_only": {},
            "fgsm": {},
            "pgd": {"steps": 4, "restarts": 1},
            "square": {"steps": 10},
            "vafa": {"steps": 2},
        },
        "sweeps": {},
        "worst_cases": {},
        "checklist": True,
        "checklist_sweeps": {"pgd": {"eps": [8, 128], "steps": [8], "seed": [1]}},
        "visibility_metrics": {"psnr": {"_target_": "monai.metrics.PSNRMetric", "max_val": 1.0}},
        "output_dir": str(tmp_path / "out"),
    }
    plain = open_target("unetr_inference")
    masked = dataclasses.replace(plain, network=HardQuantized(plain.network))
    targets = {"targets": {"unetr": plain, "masked": masked}}
    made = workflow("vafa_attack", "benchmark.json", workflow_type="infer", **settings, **targets)
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
