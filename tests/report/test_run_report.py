# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from monai_vafa.report import format_tables, write_report
from monai_vafa.report.figures import figure_rows

from .results import CLEAN, attacked, write_model, write_volumes


@pytest.fixture
def summary():
    scores = {"dsc": 0.9, "hd95": 2.0, "lpips": None, "ssim": 0.97, "linf": 12.3, "changed_voxel_rate": 0.015}
    classes = {"background": {"dsc": 0.99, "hd95": 1.0}, "tumour": {"dsc": 0.812, "hd95": None}}
    return {
        "status": "failed",
        "means": {"clean": {**scores, "classes": classes}, "vafa": {**scores, "dsc": 0.4, "classes": classes}},
        "cases": {"c1": "/data/c1.nii.gz", "c2": "/data/c2.nii.gz"},
        "failed": {"c2": "ValueError: why"},
        "class_names": ["background", "tumour"],
        "description": "made <up> & more",
        "unmeasured": ["lpips"],
        "attacks": {"vafa": {"threat_model": "white box, x < y", "control": False}},
    }


@pytest.fixture
def folder(summary, tmp_path):
    write_volumes(tmp_path, "c1", ["clean", "vafa"])
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_table_shows_damage_beside_visibility_and_each_class(summary):
    lines = format_tables(summary).splitlines()
    assert lines[0].split() == ["DSC", "HD95", "100(1-LPIPS)", "SSIM", "L-inf", "changed"]
    assert lines[3].split() == ["vafa", "40.00", "2.00", "-", "0.9700", "12.3", "1.5", "%"]
    per_class = lines[lines.index(next(line for line in lines if line.startswith("DSC / HD95"))) :]
    assert per_class[0].split()[-1] == "tumour"
    assert [line.split()[-3:] for line in per_class[2:4]] == [["81.20", "/", "-"]] * 2


def test_table_shows_surface_dice_and_means_without_background(summary):
    more = {"dsc_foreground": 0.51, "nsd": 0.7, "hd95_foreground": 4.0, "nsd_foreground": 0.6}
    summary["means"]["vafa"].update(more)
    lines = format_tables(summary).splitlines()
    header = ["DSC", "DSC fg", "HD95", "HD95 fg", "NSD", "NSD fg", "100(1-LPIPS)", "SSIM", "L-inf", "changed"]
    assert [cell.strip() for cell in lines[0].split("  ") if cell.strip()] == header
    assert lines[3].split()[:7] == ["vafa", "40.00", "51.00", "2.00", "4.00", "70.00", "60.00"]
    assert lines[2].split()[:6] == ["clean", "90.00", "-", "2.00", "-", "-"]


def test_metrics_that_somebody_added_are_shown_last(summary):
    summary["means"]["vafa"].update(volume_error=-0.25, steps=20.0, seconds=3.0)
    lines = format_tables(summary).splitlines()
    assert lines[0].split()[-2:] == ["changed", "volume_error"]
    assert lines[3].split()[-1] == "-0.2500" and lines[2].split()[-1] == "-"


def test_table_says_what_is_missing_and_what_failed(summary):
    text = format_tables(summary)
    assert "Mean over 1 of 2 cases." in text and "made <up> & more" in text
    assert "Not measured here (the log says why): lpips" in text
    assert "FAILED c2: ValueError: why" in text


def test_report_draws_a_figure_per_finished_case(folder, caplog):
    caplog.set_level(logging.INFO)
    write_report(folder)
    assert [p.name for p in (folder / "figures").iterdir()] == ["c1.png"]
    assert (folder / "figures" / "c1.png").read_bytes().startswith(b"\x89PNG")
    assert "40.00" in caplog.text


def test_case_that_is_not_finished_has_no_figure(folder, summary):
    (folder / "summary.json").write_text(json.dumps({**summary, "failed": {}}))
    write_report(folder)
    assert [p.name for p in (folder / "figures").iterdir()] == ["c1.png"]


def test_page_holds_tables_figures_threat_models_and_problems_escaped(folder):
    write_report(folder)
    page = (folder / "index.html").read_text()
    assert "made &lt;up&gt; &amp; more" in page and "<up>" not in page
    assert "x &lt; y" in page
    for part in (
        '<td class="">40.00</td>',
        "81.20 / -",
        'src="figures/c1.png"',
        "FAILED c2",
        "lpips",
        "cases.csv",
        "not complete",
    ):
        assert part in page
    assert "<script" not in page and "http" not in page


def test_tables_come_without_matplotlib(folder, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_report(folder)
    assert "pip install matplotlib" in caplog.text
    assert "40.00" in caplog.text
    assert "40.00" in (folder / "index.html").read_text()
    assert "<img" not in (folder / "index.html").read_text()


def test_folder_without_results_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"summary\.json"):
        write_report(tmp_path)


def test_few_rows_are_all_drawn_in_their_order():
    means = {name: {"dsc": 0.5} for name in ("clean", "b", "a")}
    assert figure_rows(means, ["clean", "b", "a"]) == ["clean", "b", "a"]


def test_of_many_rows_two_controls_and_the_strongest_attacks_are_drawn():
    scores = {
        "clean": 0.9,
        "gn": 0.89,
        "a": 0.1,
        "b": 0.8,
        "c": 0.2,
        "d": 0.7,
        "e": 0.3,
        "f": None,
        "quantize_only": 0.6,
    }
    means = {name: {"dsc": dsc} for name, dsc in scores.items()}
    assert figure_rows(means, list(scores), ["quantize_only", "gn"]) == [
        "clean",
        "gn",
        "a",
        "c",
        "d",
        "e",
        "quantize_only",
    ]
    few = figure_rows(means, list(scores), ["quantize_only", "gn", "a", "b"])
    assert few == ["clean", "gn", "a", "c", "d", "e", "f"]


def test_report_needs_neither_torch_nor_monai():
    code = "import sys, monai_vafa.report; sys.exit(any(name in sys.modules for name in ('torch', 'monai')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cases_of_earlier_runs_do_not_count(tmp_path):
    """They are still in cases.csv, but the means are not over them."""
    write_model(tmp_path / "m", {"clean": CLEAN, "pgd": {**attacked([0.5, None]), "zero_gradient": [None, 1]}})
    summary = json.loads((tmp_path / "m" / "summary.json").read_text())
    (tmp_path / "m" / "summary.json").write_text(json.dumps({**summary, "cases": {"c1": "/data/c1.nii.gz"}}))
    write_report(tmp_path / "m")
    page = (tmp_path / "m" / "index.html").read_text()
    assert "Mean over 1 of 1 cases." in page
    assert "Not over the same" not in page and "zero everywhere" not in page
