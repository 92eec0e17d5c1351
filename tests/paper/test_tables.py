# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from monai_vafa.paper import write_paper_report
from monai_vafa.paper.published import SWEEPS, TABLE_1
from monai_vafa.paper.report import budget_table, sweep_tables
from monai_vafa.report.benchmark import Benchmark
from monai_vafa.report.tables import table_text
from tests.report.results import BASE, BUDGETS, CLEAN, ROWS, attacked, table_row, write_benchmark


def benchmark(folder, models, **facts):
    return Benchmark(write_benchmark(folder, models, BASE, **{"budgets": BUDGETS, **facts}))


def test_published_numbers_stand_beside_ours(tmp_path):
    text = table_text(budget_table(benchmark(tmp_path, {"unetr": ROWS, "unetrpp": ROWS}, published="synapse")))
    pgd = "eps 4 / 8 45.00 / 20.00 20.00 / 20.00 99.00 / 95.00 62.7 / 50.8 40.4 / 64.5 98.9 / 95.3"
    assert table_row(text, "unetr", "pgd") == pgd.split()
    assert table_row(text, "unetr", "vafa")[-9:] == ["32.2", "/", "29.8", "57.6", "/", "59.9", "97.5", "/", "96.9"]
    assert table_row(text, "unetr", "clean") == ["-", "90.00", "2.00", "100.00", "74.3", "14.0", "-"]
    assert table_row(text, "unetrpp", "pgd")[-9:] == ["77.5", "/", "67.1", "48.1", "/", "78.3", "95.7", "/", "85.1"]
    assert "arXiv 2307.07269" in text and "block 32, 20 steps" in text


def test_page_has_the_tables_of_the_paper(tmp_path):
    made = benchmark(tmp_path, {"unetr": ROWS}, published="synapse")
    write_paper_report(made.folder)
    page = (tmp_path / "index.html").read_text()
    for part in ("Damage and visibility", "In the layout of the paper", "62.7 / 50.8"):
        assert part in page, part


def test_without_published_only_ours_are_shown(tmp_path):
    made = benchmark(tmp_path, {"unetr": ROWS})
    text = "\n".join(map(table_text, [budget_table(made), *sweep_tables(made)]))
    assert "ublished" not in text and "62.7" not in text
    ours = "eps 4 / 8 45.00 / 20.00 20.00 / 20.00 99.00 / 95.00"
    assert table_row(text, "unetr", "pgd") == ours.split()


def test_budgets_models_and_attacks_that_the_paper_lacks_have_no_published_number(tmp_path):
    rows = {"clean": CLEAN, "pgd": attacked(0.5), "pgd-eps=3": attacked(0.6), "square": attacked(0.7)}
    base = {"pgd": {"eps": 2.0}}
    folder = write_benchmark(tmp_path, {"unetr": rows, "mine": rows}, base, budgets={"pgd": "eps"}, published="synapse")
    text = table_text(budget_table(Benchmark(folder)))
    assert table_row(text, "unetr", "pgd") == ["eps", "2", "50.00", "20.00", "99.00", "-", "-", "-"]
    assert table_row(text, "unetr", "square") == ["-", "70.00", "20.00", "99.00", "-", "-", "-"]
    assert table_row(text, "mine", "clean")[-3:] == ["-", "-", "-"]


def test_sweeps_stand_beside_the_published_ones(tmp_path):
    q_max, steps = sweep_tables(benchmark(tmp_path, {"unetr": ROWS, "unetrpp": ROWS}, published="synapse"))
    assert (q_max.title, steps.title) == ("vafa: q_max", "vafa: steps")
    assert q_max.rows[0][3:5] == ["published DSC", "published 100(1-LPIPS)"]
    assert q_max.rows[1:] == [
        ["20", "45.00", "97.00", "56.24", "98.70", "45.00", "97.00"],
        ["25", "30.00", "96.50", "-", "-", "30.00", "96.50"],
        ["30", "25.00", "96.00", "50.96", "98.33", "25.00", "96.00"],
    ]
    assert steps.rows[1][:5] == ["10", "60.00", "99.00", "61.33", "98.85"]
    assert "block 8" in steps.notes[0]


def test_side_of_a_cubic_block_is_one_number(tmp_path):
    rows = {"clean": CLEAN, "vafa": attacked(0.5), "vafa-block_size=8": attacked(0.6)}
    made = Benchmark(
        write_benchmark(tmp_path, {"unetr": rows}, {"vafa": {"block_size": [32] * 3}}, published="synapse")
    )
    (table,) = sweep_tables(made)
    assert [row[:4] for row in table.rows[1:]] == [["8", "60.00", "99.00", "56.24"], ["32", "50.00", "99.00", "32.40"]]


def test_published_tables_are_whole():
    for model in TABLE_1.values():
        assert list(model) == ["clean", "pgd", "fgsm", "bim", "gn", "vafa"]
        assert all(list(points) == ["4", "8"] for name, points in model.items() if name not in ("clean", "vafa"))
        assert list(model["vafa"]) == ["20", "30"]
    assert {name: list(map(int, points)) for name, points in SWEEPS.items()} == {
        "q_max": [10, 20, 30, 40, 60, 80],
        "steps": [10, 20, 30, 40, 50, 60],
        "block_size": [4, 8, 16, 32, 48, 96],
    }
    # where sweeps meet, they are the same run
    assert SWEEPS["q_max"]["20"] == SWEEPS["steps"]["20"] == SWEEPS["block_size"]["8"]


def test_attack_whose_budget_is_not_known_stands_with_its_base_row(tmp_path):
    folder = write_benchmark(tmp_path, {"unetr": {"clean": CLEAN, "pgd": attacked(0.5)}}, budgets={"pgd": "eps"})
    text = table_text(budget_table(Benchmark(folder)))
    assert table_row(text, "unetr", "pgd") == ["-", "50.00", "20.00", "99.00"]
