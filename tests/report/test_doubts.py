# SPDX-License-Identifier: Apache-2.0
"""What puts results in doubt stands on the page and in the log."""

from __future__ import annotations

import html
import json
import logging

import pytest

from monai_vafa.report import write_benchmark_report, write_report

from .results import CLEAN, attacked, write_benchmark, write_model

LOST = {
    "clean": CLEAN,
    "pgd": {**attacked(0.9), "zero_gradient": [1.0, 0.25]},
    "bim": {**attacked(0.9), "zero_gradient": 0.5},
    "vafa": {**attacked([0.5, 0.6]), "nonfinite_gradient": [None, 0.031]},
    "gn": attacked(0.88),
}
STATED = (
    "Steps whose gradient was zero everywhere: pgd 100 % in c1, 25 % in c2; bim 50 % in c1, 50 % in c2. Broken or ",
    "Voxels whose gradient was NaN or infinite: vafa 3.1 % in c2. Broken or masked gradients look like robustness",
    "the DSC under these attacks may be too high",
)


@pytest.fixture(params=["run", "benchmark"])
def told(request, tmp_path, caplog):
    """Warnings on the page and lines of the log, from rows and facts of a model."""
    caplog.set_level(logging.INFO)

    def report(rows, **facts):
        if request.param == "run":
            write_model(tmp_path / "m", rows, **facts)
            write_report(tmp_path / "m")
            page = tmp_path / "m" / "index.html"
        else:
            write_benchmark(tmp_path, {"m": rows, "sound": {"clean": CLEAN, "pgd": attacked(0.5)}})
            summary = tmp_path / "m" / "summary.json"
            summary.write_text(json.dumps({**json.loads(summary.read_text()), **facts}))
            write_benchmark_report(tmp_path)
            page = tmp_path / "index.html"
        lines = html.unescape(page.read_text()).splitlines()
        return [line for line in lines if line.startswith('<p class="warning">')], caplog.text, page.read_text()

    return report


def test_lost_gradients_are_stated_with_attack_cases_and_share(told):
    warnings, log, page = told(LOST)
    for sentence in STATED:
        assert any(sentence in warning for warning in warnings)
        assert sentence in log
    assert len(warnings) == 2
    # neither is a score: the mean over those cases that have a share would mislead
    for text in (page, log):
        assert "zero_gradient" not in text and "nonfinite_gradient" not in text


def test_shares_of_lost_gradients_are_no_undefined_scores(told):
    means = {"clean": CLEAN, "vafa": {**attacked(0.5), "undefined": {"nonfinite_gradient": 1, "hd95": 1}}}
    _, log, page = told(LOST, means=means)
    for text in (log, page):
        assert "hd95 under vafa is undefined for 1 cases" in text
        assert "nonfinite_gradient" not in text


def test_of_many_cases_those_that_lost_most_are_named(told, monkeypatch):
    monkeypatch.setattr("monai_vafa.report.doubts._MOST_CASES", 1)
    warnings, _, _ = told({"clean": CLEAN, "pgd": {**attacked(0.9), "zero_gradient": [0.25, 1.0]}})
    assert "everywhere: pgd 100 % in c2, 1 more, see cases.csv." in warnings[0]


def test_missing_labels_are_stated(told):
    warnings, log, _ = told({"clean": CLEAN, "pgd": attacked(0.5)}, unlabelled=2)
    sentence = "2 of 2 cases have no label: the prediction for the clean image stands in for it."
    assert len(warnings) == 1 and sentence in warnings[0]
    assert f"{sentence} Scores tell how far" in log


def test_probabilities_are_stated(told):
    warnings, log, _ = told({"clean": CLEAN, "pgd": attacked(0.5)}, probabilities=True)
    assert len(warnings) == 1 and "The network gives probabilities instead of logits." in warnings[0]
    assert "gives probabilities instead of logits" in log


def test_sound_results_raise_no_doubt(told):
    share = {"zero_gradient": 0.0, "nonfinite_gradient": None}
    warnings, log, _ = told({"clean": CLEAN, "pgd": {**attacked(0.5), **share}}, unlabelled=0, probabilities=False)
    assert not warnings and "WARNING: " not in log
