# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from monai_vafa.results.statistics import run_statistics


def test_summary_has_statistics_once_the_run_has_ended(evaluator, tmp_path):
    made = evaluator(output_dir=tmp_path / "out", success_threshold=1.0)
    seen = []
    write = made.results.write_summary
    made.results.write_summary = lambda summary: (seen.append(summary), write(summary))
    made.run()
    assert seen[0]["status"] == "running"
    assert seen[0]["statistics"] is None
    told = json.loads((tmp_path / "out" / "summary.json").read_text())["statistics"]
    cases, metrics = made.results.rows()
    assert all(row["voxels"] for row in metrics)
    tested = [name for name in made.attacks if "-" not in name]
    assert told == json.loads(
        json.dumps(run_statistics(cases, metrics, tested=tested, background="background", threshold=1.0))
    )
    assert {row["success_rate"] for name, row in told["rows"].items()} == {1.0}


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), "0.5"])
def test_success_threshold_is_a_dsc(evaluator, threshold):
    with pytest.raises((ValueError, TypeError), match="success_threshold"):
        evaluator(success_threshold=threshold)
