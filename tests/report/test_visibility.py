# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_vafa.attacks.roster import ROSTER, RosterEntry
from monai_vafa.report import write_benchmark_report
from monai_vafa.report.benchmark import Benchmark
from monai_vafa.report.tables import table_text
from monai_vafa.report.visibility import curve_points, dsc_at, equal_visibility_rows, equal_visibility_tables

from .results import read_csv, table_row, write_benchmark

shares = st.floats(0, 1)
curves = st.lists(st.tuples(shares, shares), min_size=2, max_size=6)


@given(curves, shares)
def test_dsc_lies_between_neighbouring_points_that_reach_the_level(curve, level):
    found = dsc_at(curve, level)
    crossing = [
        (min(y0, y1), max(y0, y1)) for (x0, y0), (x1, y1) in pairwise(curve) if min(x0, x1) <= level <= max(x0, x1)
    ]
    if not crossing:
        assert found is None
    else:
        assert any(low - 1e-9 <= found <= high + 1e-9 for low, high in crossing)
        assert found <= min(high for _, high in crossing) + 1e-9


@given(curves, st.floats(0.001, 10))
def test_nothing_is_extrapolated(curve, beyond):
    assert dsc_at(curve, max(x for x, _ in curve) + beyond) is None
    assert dsc_at(curve, min(x for x, _ in curve) - beyond) is None


@given(curves)
def test_a_point_of_the_curve_is_met_or_undercut(curve):
    assert all(dsc_at(curve, x) <= y + 1e-9 for x, y in curve)


@pytest.mark.parametrize(
    ("curve", "level", "dsc"),
    [
        ([(1.0, 0.9), (0.9, 0.5)], 0.95, 0.7),
        ([(1.0, 0.9), (0.9, 0.5), (0.8, 0.1)], 0.85, 0.3),
        # likeness comes back up: the lower of the two pieces
        ([(1.0, 0.9), (0.8, 0.5), (1.0, 0.1)], 0.9, 0.3),
        ([(1.0, 0.9), (0.9, 0.5), (0.9, 0.4)], 0.9, 0.4),
        ([(1.0, 0.9), (0.9, 0.5)], 0.89, None),
        ([(1.0, 0.9)], 1.0, None),
    ],
)
def test_dsc_is_read_off_the_lowest_piece(curve, level, dsc):
    assert dsc_at(curve, level) == (dsc if dsc is None else pytest.approx(dsc))


@pytest.fixture
def folder(tmp_path):
    rows = {
        "clean": {"dsc": 0.9, "lpips": 0.0, "ssim": 1.0, "rmse": 0.0},
        "pgd": {"dsc": 0.5, "lpips": 0.02, "ssim": 0.98, "rmse": 3.0},
        "gn": {"dsc": 0.85, "lpips": 0.02, "ssim": 0.9, "rmse": 4.0},
        "rescale_only": {"dsc": 0.8, "lpips": 0.1, "ssim": 0.9, "rmse": 9.0},
        "pgd-eps=8": {"dsc": 0.3, "lpips": 0.04, "ssim": 0.94, "rmse": 6.0},
        "pgd-eps=2": {"dsc": 0.7, "lpips": 0.005, "ssim": 0.995, "rmse": 1.5},
        "pgd-steps=40": {"dsc": 0.5, "lpips": 0.02, "ssim": 0.98, "rmse": 3.0},
        "gn-sigma=8": {"dsc": 0.8, "lpips": 0.06, "ssim": 0.8, "rmse": 8.0},
    }
    base = {"pgd": {"eps": 4.0, "steps": 20}, "gn": {"sigma": 4.0}}
    return write_benchmark(tmp_path, {"unetr": rows}, base, budgets={"pgd": "eps", "gn": "sigma"})


def test_every_point_of_a_budget_curve_is_written_with_the_base_row_in_its_place(folder):
    write_benchmark_report(folder)
    points = read_csv(folder / "equal_visibility.csv")
    assert [(p["attack"], p["parameter"], p["value"], p["dsc"]) for p in points] == [
        ("pgd", "eps", "2", "0.7"),
        ("pgd", "eps", "4", "0.5"),
        ("pgd", "eps", "8", "0.3"),
        ("gn", "sigma", "4", "0.85"),
        ("gn", "sigma", "8", "0.8"),
    ]
    assert points[0]["lpips"] == "0.005" and points[0]["rmse"] == "1.5" and points[0]["dsc_foreground"] == ""


def test_huge_budget_of_the_checklist_is_no_point_of_the_curve(tmp_path):
    scores = {"dsc": 0.5, "lpips": 0.02, "ssim": 0.98, "rmse": 3.0}
    rows = {name: scores for name in ("clean", "pgd", "pgd-eps=8", "pgd-eps=128")}
    roles = {"iterative": "pgd", "huge_budget": 128}
    folder = write_benchmark(tmp_path, {"m": rows}, {"pgd": {"eps": 4.0}}, budgets={"pgd": "eps"}, checklist=roles)
    assert [point["value"] for point in curve_points(Benchmark(folder))] == [4.0, 8]


def test_table_gives_each_attack_at_each_level_and_marks_the_lowest(folder):
    made = Benchmark(folder)
    tables = equal_visibility_tables(equal_visibility_rows(made, curve_points(made)))
    lpips, ssim = map(table_text, tables)
    # 99.8, 99.5, 99, 98, 95; clean at 100
    assert table_row(lpips, "pgd") == ["82.00*", "70.00*", "63.33*", "50.00*", "-"]
    assert table_row(lpips, "gn") == ["89.50", "88.75", "87.50", "85.00", "81.25*"]
    # 0.99, 0.98, 0.95, 0.9, 0.8
    assert table_row(ssim, "pgd") == ["63.33*", "50.00*", "35.00*", "-", "-"]
    assert table_row(ssim, "gn") == ["89.50", "89.00", "87.50", "85.00*", "80.00*"]


def test_levels_are_written_as_csv(folder):
    write_benchmark_report(folder)
    rows = read_csv(folder / "dsc_at_equal_visibility.csv")
    found = {(r["attack"], r["measure"], r["level"]): (r["dsc"], r["lowest"]) for r in rows}
    assert found["pgd", "100(1-LPIPS)", "99.5"] == ("0.7", "1")
    assert found["gn", "SSIM", "0.95"] == ("0.875", "0")
    assert found["pgd", "SSIM", "0.9"] == ("", "0")
    assert len(rows) == 20


def test_figure_is_drawn(folder):
    write_benchmark_report(folder)
    figure = (folder / "figures" / "equal_visibility.png").read_bytes()
    assert figure.startswith(b"\x89PNG") and len(figure) > 20_000


def test_without_lpips_only_ssim_is_shown(tmp_path):
    rows = {
        "clean": {"dsc": 0.9, "lpips": None, "ssim": 1.0},
        "pgd": {"dsc": 0.5, "lpips": None, "ssim": 0.98},
        "pgd-eps=8": {"dsc": 0.3, "lpips": None, "ssim": 0.9},
    }
    folder = write_benchmark(tmp_path, {"m": rows}, {"pgd": {"eps": 4}}, budgets={"pgd": "eps"})
    write_benchmark_report(folder)
    assert {row["measure"] for row in read_csv(folder / "dsc_at_equal_visibility.csv")} == {"SSIM"}
    assert (folder / "figures" / "equal_visibility.png").stat().st_size > 10_000


JUDGED = {
    "clean": {"dsc": 0.9, "lpips": 0.0, "ssim": 1.0, "haarpsi": 1.0, "gmsd": 0.0},
    "pgd": {"dsc": 0.5, "lpips": 0.02, "ssim": 0.98, "haarpsi": 0.9, "gmsd": 0.01},
    "gn": {"dsc": 0.85, "lpips": 0.03, "ssim": 0.9, "haarpsi": 0.8, "gmsd": 0.02},
    "pgd-eps=8": {"dsc": 0.3, "lpips": 0.04, "ssim": 0.94, "haarpsi": 0.6, "gmsd": 0.05},
    "gn-sigma=8": {"dsc": 0.8, "lpips": 0.06, "ssim": 0.8, "haarpsi": 0.7, "gmsd": 0.02},
}


@pytest.fixture
def judged(tmp_path):
    """A model with all judges, and one with SSIM, the same everywhere, and GMSD."""
    base = {"pgd": {"eps": 4.0}, "gn": {"sigma": 4.0}}
    unjudged = {row: {**scores, "lpips": None, "haarpsi": None, "ssim": 0.9} for row, scores in JUDGED.items()}
    return write_benchmark(tmp_path, {"m": JUDGED, "n": unjudged}, base, budgets={"pgd": "eps", "gn": "sigma"})


def test_every_judge_has_its_table_and_an_unmeasured_one_has_none(judged):
    write_benchmark_report(judged)
    rows = read_csv(judged / "dsc_at_equal_visibility.csv")
    measures = {(row["model"], row["measure"]) for row in rows}
    every = ("100(1-LPIPS)", "SSIM", "HaarPSI", "100(1-GMSD)")
    assert measures == {*(("m", measure) for measure in every), ("n", "SSIM"), ("n", "100(1-GMSD)")}
    made = {(r["attack"], r["measure"], r["level"]): r["dsc"] for r in rows if r["model"] == "m"}
    assert made["pgd", "HaarPSI", "0.95"] == made["pgd", "100(1-GMSD)", "99.5"] == "0.7"
    assert made["gn", "HaarPSI", "0.9"] == "0.875"
    points = read_csv(judged / "equal_visibility.csv")
    assert (points[0]["haarpsi"], points[0]["gmsd"]) == ("0.9", "0.01")


def test_judges_agree_by_the_order_of_the_points(judged, caplog):
    """Kendall's tau by hand: how many of the six pairs of points are ordered alike, minus those that are not."""
    caplog.set_level("INFO")
    write_benchmark_report(judged)
    rows = read_csv(judged / "judges.csv")
    assert list(rows[0]) == ["model", "first", "second", "tau", "points"]
    found = {(r["model"], r["first"], r["second"]): (float(r["tau"]), r["points"]) for r in rows}
    tied = 30**0.5  # instead of 6, since for GMSD one of the six pairs is a tie
    expected = {
        ("m", "100(1-LPIPS)", "SSIM"): 4 / 6,
        ("m", "100(1-LPIPS)", "HaarPSI"): 4 / 6,
        ("m", "100(1-LPIPS)", "100(1-GMSD)"): 3 / tied,
        ("m", "SSIM", "HaarPSI"): 2 / 6,
        ("m", "SSIM", "100(1-GMSD)"): 1 / tied,
        ("m", "HaarPSI", "100(1-GMSD)"): 5 / tied,
    }
    assert {names: tau for names, (tau, _) in found.items()} == pytest.approx(expected, abs=1e-5)
    assert {points for _, points in found.values()} == {"4"}
    table = caplog.text.partition("How far the judges agree")[2]
    assert table_row(table, "m", "SSIM", "HaarPSI") == ["0.33", "4"]


def test_one_judge_alone_has_nobody_to_agree_with(tmp_path):
    rows = {row: {"dsc": scores["dsc"], "ssim": scores["ssim"]} for row, scores in JUDGED.items()}
    folder = write_benchmark(tmp_path, {"m": rows}, {"pgd": {"eps": 4.0}}, budgets={"pgd": "eps"})
    write_benchmark_report(folder)
    assert read_csv(folder / "judges.csv") == []
    assert "How far the judges agree" not in (folder / "index.html").read_text()


def test_figure_has_a_panel_for_each_measured_judge(judged, monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_xlabel", lambda self, label, **look: drawn.append(label.split()[0]))
    write_benchmark_report(judged)
    assert drawn == ["100(1-LPIPS)", "SSIM", "HaarPSI", "100(1-GMSD)", "SSIM", "100(1-GMSD)"]


def test_sweep_over_another_parameter_is_no_budget_curve(tmp_path):
    rows = {name: {"dsc": 0.5, "ssim": 0.9} for name in ("clean", "pgd", "pgd-steps=40")}
    folder = write_benchmark(tmp_path, {"m": rows}, {"pgd": {"steps": 20, "eps": 4}}, budgets={"pgd": "eps"})
    write_benchmark_report(folder)
    assert read_csv(folder / "equal_visibility.csv") == []
    assert not (folder / "figures" / "equal_visibility.png").exists()


def test_attacks_are_drawn_as_the_roster_says(folder, monkeypatch):
    """A newly registered one too; a row that is not registered has a look of its own."""
    entry = RosterEntry("pgd", ROSTER["pgd"].attack, color="tab:pink", marker="*", linestyle=":")
    monkeypatch.setitem(ROSTER, "pgd", entry)
    monkeypatch.delitem(ROSTER, "gn")
    drawn = {}
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda self, *a, label, **look: drawn.setdefault(label, look))
    monkeypatch.setattr("matplotlib.figure.Figure.legend", lambda *args, **kwargs: None)
    write_benchmark_report(folder)
    assert {"color": "tab:pink", "marker": "*", "linestyle": ":"}.items() <= drawn["pgd"].items()
    assert drawn["gn"]["color"].startswith("C")
