# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from monai_vafa.results.statistics import by_size, compare, interval, row_statistics, run_statistics

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def rows_of(dsc):
    return [{"case": case, "dsc": str(value)} for case, value in dsc.items()]


def by_case(values):
    return {f"case{i}": float(value) for i, value in enumerate(values)}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SCORES)
@example([0.6463392220732319] * 2)
def test_interval_holds_the_mean_within_the_values(values):
    low, high = interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9
    assert interval(values) == [low, high]


def test_interval_is_that_of_the_normal_theory_for_many_cases():
    values = np.random.default_rng(0).normal(0.7, 0.1, 400)
    low, high = interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.002)
    assert high == pytest.approx(values.mean() + half, abs=0.002)


def test_one_case_has_no_interval():
    assert interval([0.5]) is None
    assert interval([]) is None


def test_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    bounds = [interval(rng.normal(0, 1, 50)) for _ in range(200)]
    assert 0.89 <= np.mean([low <= 0 <= high for low, high in bounds]) <= 0.99


def test_drop_is_paired():
    clean, attacked = by_case([0.9, 0.8, 0.7]), by_case([0.8, 0.7, 0.6])
    made = row_statistics(rows_of(attacked), clean, 0.65)
    assert made["drop"] == pytest.approx(0.1)
    assert made["drop_interval"] == pytest.approx([0.1, 0.1])  # although the scores themselves vary
    assert made["intervals"]["dsc"][1] - made["intervals"]["dsc"][0] > 0.1
    assert made["success_rate"] == pytest.approx(1 / 3)
    assert made["cases"] == 3


def test_drop_is_over_the_cases_that_both_have():
    made = row_statistics(rows_of({"a": 0.5, "b": 0.1}), {"a": 0.9}, 0.5)
    assert made["drop"] == pytest.approx(0.4)
    assert made["drop_interval"] is None
    assert made["success_rate"] == 0.5


@pytest.mark.parametrize(("count", "taken"), [(1, 1), (20, 1), (21, 2), (50, 3)])
def test_worst_cases_are_five_percent_of_all(count, taken):
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, count))
    made = row_statistics(rows_of(by_case(values)), {}, 0.5)
    assert made["worst_cases"] == pytest.approx(np.sort(values)[:taken].mean())
    assert made["drop"] is None


def test_comparisons_are_wilcoxon_with_holm():
    rng = np.random.default_rng(0)
    shifts = {"a": 0, "b": 0.02, "c": 0.2}
    scores = {name: by_case(0.7 - shift + 0.05 * rng.normal(size=20)) for name, shift in shifts.items()}
    pairs = compare(scores)
    assert [(pair["first"], pair["second"]) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    first, second = (list(scores[name].values()) for name in "ac")
    assert pairs[1]["p"] == pytest.approx(stats.wilcoxon(first, second).pvalue)
    assert pairs[1]["difference"] == pytest.approx(np.mean(first) - np.mean(second))
    # As in Holm (1979): the k-th smallest of m p values times m - k + 1, and none below that of a smaller one.
    ordered = sorted(pairs, key=lambda pair: pair["p"])
    assert ordered[0]["p_holm"] == pytest.approx(3 * ordered[0]["p"])
    assert ordered[1]["p_holm"] == pytest.approx(max(ordered[0]["p_holm"], 2 * ordered[1]["p"]))
    assert ordered[2]["p_holm"] == pytest.approx(max(ordered[1]["p_holm"], ordered[2]["p"]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(SCORES.map(by_case), min_size=2, max_size=4))
def test_corrected_p_values_are_never_smaller(scores):
    pairs = compare({str(i): values for i, values in enumerate(scores)})
    assert len(pairs) == len(scores) * (len(scores) - 1) // 2
    assert all(pair["p"] <= pair["p_holm"] <= 1 for pair in pairs)


def test_equal_scores_and_rows_without_common_cases():
    same = by_case([0.5, 0.6, 0.7])
    assert compare({"a": same, "b": dict(same)})[0]["p_holm"] == 1
    assert compare({"a": {"x": 0.5}, "b": {"y": 0.5}}) == []


def test_sizes_are_thirds_of_the_structures():
    rows = [{"voxels": str(size), "dsc": str(size / 100)} for size in (10, 20, 30, 40, 50, 60)]
    rows += [{"voxels": "0", "dsc": "0"}, {"voxels": "70", "dsc": ""}, {"dsc": "0.5"}]
    assert by_size(rows) == pytest.approx({"small": 0.15, "medium": 0.35, "large": 0.55})
    assert by_size(rows[:2]) == {}


def test_statistics_of_a_run():
    cases = [
        {"case": f"c{i}", "attack": attack, "dsc": str(0.9 - drop - i / 100), "dsc_foreground": str(0.8 - drop)}
        for attack, drop in (("clean", 0), ("weak", 0.1), ("strong", 0.5), ("sweep", 0.6))
        for i in range(12)
    ]
    metrics = [
        {"case": "c0", "attack": "weak", "class": name, "dsc": "0.5", "voxels": "9"} for name in ("bg", "a", "b", "c")
    ]
    made = run_statistics(cases, metrics, tested=("weak", "strong"), background="bg", threshold=0.5)
    assert list(made["rows"]) == ["clean", "weak", "strong", "sweep"]
    assert made["rows"]["strong"]["drop"] == pytest.approx(0.5)
    assert made["rows"]["strong"]["success_rate"] == 1
    assert made["rows"]["clean"]["success_rate"] == 0
    assert set(made["rows"]["weak"]["intervals"]) == {"dsc", "dsc_foreground"}
    assert made["rows"]["weak"]["by_size"] == {"small": 0.5, "medium": 0.5, "large": 0.5}
    assert {name for pair in made["comparisons"] for name in (pair["first"], pair["second"])} == {
        "clean",
        "weak",
        "strong",
    }
    assert all(pair["p_holm"] < 0.05 for pair in made["comparisons"])
