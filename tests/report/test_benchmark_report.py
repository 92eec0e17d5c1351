# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from monai_vafa.report import write_benchmark_report
from monai_vafa.report.benchmark import Benchmark
from monai_vafa.report.reports import transfer_section
from monai_vafa.report.tables import table_text

from .results import BASE, BUDGETS, CLEAN, ROWS, attacked, read_csv, table_row, write_benchmark, write_volumes


def test_table_has_clean_base_rows_and_worst_cases_of_each_model(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    groups = {"both": ["pgd", "vafa"]}
    folder = write_benchmark(tmp_path, {"unetr": ROWS, "unetrpp": ROWS}, BASE, budgets=BUDGETS, worst_cases=groups)
    write_benchmark_report(folder)
    table = read_csv(folder / "table.csv")
    names = [(r["model"], r["attack"]) for r in table]
    assert names == [(m, a) for m in ("unetr", "unetrpp") for a in ("clean", "pgd", "vafa", "both")]
    assert [r["dsc"] for r in table[:4]] == ["0.9", "0.45", "0.45", "0.35"]
    assert table_row(caplog.text, "pgd")[:3] == ["45.00", "20.00", "99.00"]
    assert table_row(caplog.text, "both")[:2] == ["35.00", "20.00"]
    assert re.search(r"DSC / HD95 +background +tumour\n-+\nclean +90.00 / - +90.00 / -\n", caplog.text)


def test_worst_case_is_chosen_for_each_case(tmp_path):
    groups = {"both": ["pgd", "vafa"], "wide": ["pgd", "vafa", "pgd-eps=8"]}
    folder = write_benchmark(tmp_path, {"unetr": ROWS}, BASE, worst_cases=groups)
    write_benchmark_report(folder)
    chosen = [(r["group"], r["case"], r["attack"], r["dsc"], r["lpips"]) for r in read_csv(folder / "worst_case.csv")]
    assert chosen == [
        ("both", "c1", "vafa", "0.3", "0.03"),
        ("both", "c2", "pgd", "0.4", "0.01"),
        ("wide", "c1", "pgd-eps=8", "0.2", "0.05"),
        ("wide", "c2", "pgd-eps=8", "0.2", "0.05"),
    ]


def test_case_without_a_score_is_no_worst_case(tmp_path):
    rows = {"clean": CLEAN, "pgd": attacked([None, 0.4]), "vafa": attacked([None, 0.6])}
    folder = write_benchmark(tmp_path, {"unetr": rows}, worst_cases={"both": ["pgd", "vafa"]})
    write_benchmark_report(folder)
    assert [r["case"] for r in read_csv(folder / "worst_case.csv")] == ["c2"]


def test_transfer_stands_beside_white_box_over_the_same_cases(tmp_path):
    sent = [{"case": "c1", "source": "a", "target": "b", "attack": "pgd", "dsc": 0.77}]
    folder = write_benchmark(tmp_path, {"a": ROWS, "b": {**ROWS, "pgd": attacked([0.1, 0.9])}}, BASE, sent)
    made = Benchmark(folder)
    (table,) = transfer_section(made).tables
    text = table_text(table)
    assert table_row(text, "clean") == ["-", "90.00", "90.00"]
    assert table_row(text, "pgd", "a") == ["50.00*", "77.00"]
    assert table_row(text, "pgd", "b") == ["-", "10.00*"]


def test_page_has_every_part_and_escapes_what_it_is_told(tmp_path):
    sent = [{"case": "c1", "source": "unetr", "target": "b", "attack": "pgd", "dsc": 0.77}]
    folder = write_benchmark(
        tmp_path,
        {"unetr": ROWS, "b": ROWS},
        BASE,
        sent,
        budgets=BUDGETS,
        description="demo <b>only</b>",
        worst_cases={"a&b": ["pgd", "vafa"]},
        checklist={"iterative": "pgd"},
        published="synapse",
    )
    write_volumes(folder / "unetr", "c1", ["clean", "pgd", "vafa"])
    write_benchmark_report(folder)
    page = (folder / "index.html").read_text()
    assert "demo &lt;b&gt;only&lt;/b&gt;" in page and "<b>only" not in page
    assert '<td class="name">a&amp;b</td>' in page and "a&b" not in page
    for part in (
        "Damage and visibility",
        'src="figures/equal_visibility.png"',
        "DSC at equal SSIM",
        "Transfer",
        "success grows with the budget",
        'class="name skipped">not applicable',
        "Each class",
        "tumour",
        'src="unetr/figures/c1.png"',
        "who may do vafa",
        "table.csv",
        "checklist.json",
    ):
        assert part in page, part
    assert "c2.png" not in page and "who may do pgd-eps=8" not in page
    assert "<script" not in page
    assert (folder / "unetr" / "figures" / "c1.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_that_failed_is_named_and_the_others_are_reported(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = write_benchmark(
        tmp_path,
        {"unetr": ROWS, "lost": {}},
        BASE,
        budgets=BUDGETS,
        status="failed",
        checklist={"iterative": "pgd"},
        worst_cases={"both": ["pgd", "vafa"]},
        published="synapse",
    )
    write_benchmark_report(folder)
    page = (folder / "index.html").read_text()
    assert "lost has no results." in page and "(status: failed)" in page
    assert "this model failed" in caplog.text
    assert {row["model"] for row in read_csv(folder / "table.csv")} == {"unetr"}
    lost = json.loads((folder / "checklist.json").read_text())["lost"]
    assert {line["verdict"] for line in lost} == {"not applicable"}


def test_failed_cases_and_uneven_rows_are_told(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = write_benchmark(tmp_path, {"unetr": {**ROWS, "vafa": attacked([0.3, None])}}, BASE)
    path = folder / "unetr" / "summary.json"
    summary = {**json.loads(path.read_text()), "failed": {"c2": "ValueError: why"}, "unmeasured": ["lpips"]}
    path.write_text(json.dumps(summary))
    write_benchmark_report(folder)
    for text in (caplog.text, (folder / "index.html").read_text()):
        assert "FAILED c2: ValueError: why" in text
        assert "Mean over 1 of 2 cases." in text
        assert "Not over the same 2 cases as clean: vafa (1)." in text
        assert "(the log says why): lpips" in text


def test_benchmark_that_has_just_begun_can_be_reported(tmp_path):
    folder = write_benchmark(tmp_path, {"unetr": {}, "unetrpp": {}}, status="running", checklist={})
    write_benchmark_report(folder)
    assert "(status: running)" in (folder / "index.html").read_text()


def test_without_matplotlib_everything_but_figures_comes(tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = write_benchmark(tmp_path, {"unetr": ROWS}, BASE, budgets=BUDGETS)
    write_benchmark_report(folder)
    assert caplog.text.count("pip install matplotlib") == 1
    assert "DSC at equal SSIM" in (folder / "index.html").read_text()
    assert "<img" not in (folder / "index.html").read_text()


def test_report_can_be_written_again(tmp_path):
    folder = write_benchmark(tmp_path, {"unetr": ROWS}, BASE, budgets=BUDGETS)
    write_benchmark_report(folder)
    first = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    write_benchmark_report(folder)
    assert first == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_unknown_row_in_a_group_is_refused(tmp_path):
    folder = write_benchmark(tmp_path, {"unetr": ROWS}, worst_cases={"both": ["pgd", "nobody"]})
    with pytest.raises(ValueError, match=r"worst_cases\['both'\] names 'nobody'"):
        write_benchmark_report(folder)


def test_folder_without_a_benchmark_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"benchmark\.json"):
        write_benchmark_report(tmp_path)
