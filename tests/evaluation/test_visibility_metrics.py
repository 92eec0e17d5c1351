# SPDX-License-Identifier: Apache-2.0
"""What judges the visibility of an attack unless somebody asks for something else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from monai_vafa.evaluation import default_visibility_metrics, evaluate
from monai_vafa.metrics import TrunkUnavailable
from monai_vafa.results.schema import COLUMNS

CONFIG = Path(__file__).parents[2] / "bundles" / "vafa_attack" / "configs" / "attack.json"
JUDGES = ["lpips", "ssim", "haarpsi", "gmsd", "psnr"]


@pytest.fixture(autouse=True)
def no_trunk(monkeypatch):
    def missing(trunk):
        raise TrunkUnavailable("not here")

    monkeypatch.setattr("monai_vafa.metrics.lpips.find_trunk", missing)


def test_defaults_config_and_columns_have_the_same_order():
    assert list(default_visibility_metrics()) == JUDGES
    assert list(json.loads(CONFIG.read_text())["visibility_metrics"]) == JUDGES
    assert [column for column in COLUMNS if column in (*JUDGES, "linf", "rmse")] == [*JUDGES, "linf", "rmse"]


def test_every_row_is_judged_and_the_clean_image_is_like_itself(target, metrics, datalist):
    metrics["visibility_metrics"] = default_visibility_metrics()
    clean, noisy = (r.visibility for r in evaluate(target(), {"gn": {"sigma": 32}}, datalist[:1], **metrics))
    assert (clean["haarpsi"], clean["gmsd"]) == pytest.approx((1, 0), abs=2e-5)
    assert 0 < noisy["haarpsi"] < 0.95 and 0.01 < noisy["gmsd"] <= 0.5
    assert noisy["lpips"] is None


def test_without_piq_both_are_unmeasured(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "piq", None)
    made = default_visibility_metrics()
    assert [name for name, metric in made.items() if metric is None] == ["lpips", "haarpsi", "gmsd"]
    assert caplog.text.count('pip install "monai_vafa[judges]"') == 2
