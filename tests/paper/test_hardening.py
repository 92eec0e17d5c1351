# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
import sys

import nibabel as nib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from monai_vafa.paper import write_paper_report
from monai_vafa.paper.hardening import change_table, hardening_figure, hardening_table
from monai_vafa.paper.published import TABLE_1, TABLE_2
from monai_vafa.paper.report import budget_table, sweep_tables
from monai_vafa.report.benchmark import Benchmark
from monai_vafa.report.tables import table_text
from tests.report.results import CLEAN, attacked, table_row, write_benchmark, write_volumes

HARDENED = {"a": ["unetr", "clean"], "b": ["unetr", "vafa"], "c": ["unetrpp", "vafa_fr"]}
MODELS = {
    "a": {"clean": CLEAN, "gn": attacked(0.88), "pgd": attacked([0.5, 0.4]), "vafa": attacked([0.3, 0.6])},
    "b": {
        "clean": attacked([0.92, 0.86]),
        "gn": attacked(0.88),
        "pgd": attacked([0.7, 0.5]),
        "vafa": attacked([0.6, 0.7]),
    },
    "c": {"clean": attacked(0.95), "gn": attacked(0.94), "pgd": attacked(0.2), "vafa": attacked(0.9)},
}
SYNAPSE = {"gn": {"sigma": 4.0}, "pgd": {"eps": 4.0}, "vafa": {"q_max": 20.0}}


def make(folder, models=None, base=SYNAPSE, **facts):
    return Benchmark(write_benchmark(folder, models or MODELS, base, **{"hardened": HARDENED, **facts}))


@pytest.fixture
def grids(monkeypatch):
    """(rows, columns) of every figure drawn."""
    seen = []
    subplots = Figure.subplots

    def spy(self, rows=1, columns=1, **kwargs):
        seen.append((rows, columns))
        return subplots(self, rows, columns, **kwargs)

    monkeypatch.setattr(Figure, "subplots", spy)
    return seen


def test_cells_are_mean_dsc_of_clean_and_base_attacks_and_the_worst_case(tmp_path):
    swept = {model: {**rows, "pgd-eps=8": attacked(0.1)} for model, rows in MODELS.items()}
    table = hardening_table(make(tmp_path, swept, worst_cases={"worst case": ["pgd", "vafa"], "other": ["pgd"]}))
    assert table.rows == [
        ["", "trained against", "clean", "gn", "pgd", "vafa", "worst case"],
        ["unetr", "clean", "90.00", "88.00", "45.00", "45.00", "35.00"],
        ["unetr", "vafa", "89.00", "88.00", "60.00", "65.00", "55.00"],
        ["unetrpp", "vafa_fr", "95.00", "94.00", "20.00", "90.00", "20.00"],
    ]
    assert table.notes == ["worst case: for each case the lowest DSC under pgd, vafa."]


def test_without_the_group_there_is_no_worst_case(tmp_path):
    made = make(tmp_path)
    assert hardening_table(made).rows[0][-1] == change_table(made).rows[0][-1] == "vafa"


def test_published_numbers_stand_beside_the_attacks_that_have_them(tmp_path):
    text = table_text(hardening_table(make(tmp_path, published="synapse")))
    assert table_row(text, "unetr", "clean") == ["90.00", "74.3", "88.00", "45.00", "62.7", "45.00", "32.2"]
    assert table_row(text, "unetr", "vafa") == ["89.00", "74.67", "88.00", "60.00", "64.83", "65.00", "66.31"]
    assert table_row(text, "unetrpp", "vafa_fr") == ["95.00", "82.65", "94.00", "20.00", "70.61", "90.00", "78.19"]
    assert "published gn" not in text
    assert "Synapse, eps 4" in text and "ACDC" not in text


def test_published_numbers_of_acdc_are_those_of_acdc(tmp_path):
    base = {"gn": {"sigma": 2.0}, "pgd": {"eps": 2.0}, "vafa": {"q_max": 10.0}}
    text = table_text(hardening_table(make(tmp_path, base=base, published="acdc")))
    assert table_row(text, "unetr", "clean") == ["90.00", "-", "88.00", "45.00", "-", "45.00", "-"]
    assert table_row(text, "unetr", "vafa") == ["89.00", "81.95", "88.00", "60.00", "60.77", "65.00", "69.76"]
    assert "ACDC, eps 2" in text and "Synapse" not in text


def test_published_numbers_stay_away_unless_asked_for(tmp_path):
    made = make(tmp_path)
    assert "ublished" not in table_text(hardening_table(made)) + table_text(change_table(made))


def test_attack_at_another_budget_has_no_published_number(tmp_path):
    base = {**SYNAPSE, "pgd": {"eps": 8.0}}
    header = hardening_table(make(tmp_path, base=base, published="synapse")).rows[0]
    assert [name for name in header if name.startswith("published")] == ["published clean", "published vafa"]


def test_tables_of_synapse_print_nothing_beside_acdc(tmp_path):
    rows = {**MODELS["a"], "vafa-q_max=30": attacked(0.2)}
    folder = write_benchmark(tmp_path, {"unetr": rows}, SYNAPSE, budgets={"vafa": "q_max"}, published="acdc")
    made = Benchmark(folder)
    text = "\n".join(map(table_text, [budget_table(made), *sweep_tables(made)]))
    assert "vafa: q_max" in text and "ublished" not in text and "74.3" not in text


def test_hardened_model_has_no_number_of_table_1_beside(tmp_path):
    models = {name: {**rows, "vafa-q_max=30": attacked(0.2)} for name, rows in MODELS.items()}
    models["unetr"] = models.pop("b")
    hardened = {"a": ["unetr", "clean"], "unetr": ["unetr", "vafa"]}
    made = make(tmp_path, models, hardened=hardened, budgets={"vafa": "q_max"}, published="synapse")
    text = table_text(budget_table(made))
    assert table_row(text, "a", "clean")[-3:] == ["74.3", "14.0", "-"]
    assert table_row(text, "unetr", "clean")[-3:] == ["-", "-", "-"]
    (q_max,) = sweep_tables(made)
    assert q_max.rows[0].index("published DSC") == q_max.rows[0].index("a 100(1-LPIPS)") + 1
    assert q_max.rows[0].count("published DSC") == 1


def test_change_is_taken_from_the_same_network_trained_on_clean_images(tmp_path):
    table = change_table(make(tmp_path, worst_cases={"worst case": ["pgd", "vafa"]}))
    assert table.rows == [
        ["", "trained against", "clean", "gn", "pgd", "vafa", "worst case"],
        ["unetr", "vafa", "-1.00", "+0.00", "+15.00", "+20.00", "+20.00"],
        ["unetrpp", "vafa_fr", "-", "-", "-", "-", "-"],
    ]
    assert table.notes == ["unetrpp: no model trained on clean images to compare with."]


def test_change_is_over_the_cases_that_both_have(tmp_path):
    models = {**MODELS, "b": {**MODELS["b"], "pgd": attacked([None, 0.5])}}
    table = change_table(make(tmp_path, models))
    assert table.rows[1][4] == "+10.00"
    assert "unetr, vafa: over the cases that both models have." in table.notes


def test_models_with_fewer_cases_are_named(tmp_path):
    models = {**MODELS, "b": {**MODELS["b"], "clean": attacked([0.9, None])}}
    assert hardening_table(make(tmp_path, models)).notes == [
        "unetr, vafa: mean over 1 of the 2 cases that models here have."
    ]


def test_model_without_results_keeps_its_row(tmp_path):
    made = make(tmp_path, {**MODELS, "b": {}}, published="synapse")
    expected = ["no", "results", "74.67", "-", "-", "64.83", "-", "66.31"]
    assert table_row(table_text(hardening_table(made)), "unetr", "vafa") == expected
    assert table_row(table_text(change_table(made)), "unetr", "vafa") == ["no", "results", "-", "-", "-"]
    (tmp_path / "lost").mkdir()
    lost = make(tmp_path / "lost", {"a": {}, "b": {}, "c": {}})
    assert [row[2] for row in hardening_table(lost).rows[1:]] == ["no results"] * 3
    assert hardening_figure(lost) is None


def test_reported_only_if_models_were_hardened(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = make(tmp_path / "new", published="synapse").folder
    write_volumes(folder / "a", "c1", list(MODELS["a"]))
    write_paper_report(folder)
    page = (folder / "index.html").read_text()
    for part in ("Hardened models", "trained against", "64.83", "+15.00", 'src="figures/hardening_c1.png"'):
        assert part in page, part
    assert "HARDENED MODELS" in caplog.text and "+15.00" in caplog.text

    old = write_benchmark(tmp_path / "old", MODELS, SYNAPSE)
    assert "hardened" not in json.loads((old / "benchmark.json").read_text())
    write_volumes(old / "a", "c1", list(MODELS["a"]))
    write_paper_report(old)
    assert Benchmark(old).hardened == {}
    assert "ardened" not in (old / "index.html").read_text()
    assert not list(old.glob("figures/hardening*"))


def test_tables_come_without_matplotlib(tmp_path, monkeypatch):
    folder = make(tmp_path).folder
    write_volumes(folder / "a", "c1", list(MODELS["a"]))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_paper_report(folder)
    page = (folder / "index.html").read_text()
    assert "+15.00" in page and "<img" not in page


def test_figure_has_a_row_per_model_and_a_column_per_attack_and_the_reference(tmp_path, grids):
    made = make(tmp_path)
    for model in ("a", "b"):
        for case in ("c1", "c2"):
            write_volumes(made.folder / model, case, list(MODELS[model]))
    path = hardening_figure(made)
    assert path == tmp_path / "figures" / "hardening_c1.png"
    # c has no volumes
    assert grids == [(2, 5)]
    first = imread(path)
    write_volumes(made.folder / "c", "c1", ["clean", "vafa"])
    second = imread(hardening_figure(made))
    assert grids[-1] == (3, 5)
    assert second.shape[1] == first.shape[1] and second.shape[0] > first.shape[0] + 100
    assert [p.name for p in path.parent.iterdir()] == ["hardening_c1.png"]


def test_case_that_failed_is_not_drawn(tmp_path):
    made = make(tmp_path)
    for case in ("c1", "c2"):
        write_volumes(made.folder / "a", case, list(MODELS["a"]))
    made.summaries["a"]["failed"] = {"c1": "ValueError: why"}
    assert hardening_figure(made).name == "hardening_c2.png"


def test_figure_stays_readable(tmp_path, grids):
    """Of many attacks the strongest, of many models those of the first network."""
    names = ["gn", "quantize_only", "v", "w", "x", "y", "z"]
    rows = {"clean": CLEAN, **{name: attacked(0.8 - 0.1 * i) for i, name in enumerate(names)}}
    models = {f"{network}{i}": rows for network in ("unetr", "unetrpp") for i in range(5)}
    hardened = {model: [model[:-1], "clean" if model[-1] == "0" else f"attack{model[-1]}"] for model in models}
    made = make(tmp_path, models, base={}, hardened=hardened, controls=["gn", "quantize_only"])
    for model in models:
        write_volumes(made.folder / model, "c1", list(rows))
    assert hardening_figure(made) is not None
    assert grids == [(5, 7)]


def test_slice_is_where_the_strongest_attack_changes_most_on_the_clean_model(tmp_path, monkeypatch):
    made = make(tmp_path, hardened={"b": ["unetr", "vafa"], "a": ["unetr", "clean"]})
    for model in ("a", "b"):
        write_volumes(made.folder / model, "c1", list(MODELS[model]))
    changed = {"gn": 0, "pgd": 1, "vafa": 4}  # vafa leaves the lowest DSC of c1
    for name, index in {**changed, "clean": None, "label": None}.items():
        volume = np.zeros((12, 14, 6), np.float32)
        volume[3:9, 3:9] = 1
        if index is not None:
            volume[..., index] = 0
        nib.save(nib.Nifti1Image(volume, np.eye(4)), made.folder / "a" / "predictions" / f"c1_{name}.nii.gz")
    titles = []
    monkeypatch.setattr(Figure, "suptitle", lambda self, text, **kwargs: titles.append(text))
    hardening_figure(made)
    assert titles[0].startswith("c1, axial slice 4;")


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, -1)])
def test_model_on_another_grid_shows_the_same_place(tmp_path, monkeypatch, signs):
    """A mark in the patient is painted at the same place for both models, whatever their orientation and spacing."""
    made = make(tmp_path, hardened={"a": ["unetr", "clean"], "b": ["unetrpp", "clean"]})
    marked = np.zeros((12, 14, 6), np.float32)
    marked[2:4, 3:6, 4] = 1
    twice = np.zeros((12, 14, 12), np.float32)
    twice[2:4, 3:6, 8:10] = 1
    flips = tuple(slice(None, None, sign) for sign in signs)
    # world = sign * index + offset, so that voxel centres agree with the grid of model a along x and y
    affine = np.diag([*(np.array(signs) * (1, 1, 0.5)), 1.0])
    affine[:3, 3] = [11 if signs[0] < 0 else 0, 13 if signs[1] < 0 else 0, 5.25 if signs[2] < 0 else -0.25]
    for model, volume, place in (("a", marked, np.eye(4)), ("b", twice[flips], affine)):
        for kind in ("adversarial", "predictions"):
            (made.folder / model / kind).mkdir(parents=True, exist_ok=True)
            for name in ("clean", "vafa", "label"):
                shown = np.zeros_like(volume) if (kind, name) == ("predictions", "vafa") else volume
                nib.save(nib.Nifti1Image(shown.copy(), place), made.folder / model / kind / f"c1_{name}.nii.gz")
    painted = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.imshow", lambda self, pixels, **kwargs: painted.append(np.asarray(pixels))
    )
    hardening_figure(made)
    first, second = painted[: len(painted) // 2], painted[len(painted) // 2 :]
    assert len(first) == 6 and first[0].max() == 1
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_classes_that_overlap_are_painted_with_the_smaller_one_on_top(tmp_path, monkeypatch):
    made = make(tmp_path, hardened={"a": ["unetr", "clean"]})
    made.summaries["a"]["activation"] = "sigmoid"
    write_volumes(made.folder / "a", "c1", ["clean", "vafa"])
    channels = np.zeros((12, 14, 6, 2), np.float32)
    channels[2:4, 2:4, 1, 0] = 1
    channels[1:8, 1:8, 1, 1] = 1
    for name in ("clean", "vafa", "label"):
        nib.save(nib.Nifti1Image(channels, np.eye(4)), made.folder / "a" / "predictions" / f"c1_{name}.nii.gz")
    painted = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.imshow", lambda self, pixels, **kwargs: painted.append(np.asarray(pixels))
    )
    hardening_figure(made)
    colors, counts = np.unique(painted[1].reshape(-1, 4), axis=0, return_counts=True)
    assert sorted(counts) == [4, 45, 12 * 14 - 49] and (colors[:, 3] == 0).sum() == 1


def test_published_table_2_is_whole():
    for networks in TABLE_2.values():
        for network in networks.values():
            for row in network.values():
                assert list(row) == ["clean", "pgd", "fgsm", "bim", "vafa"]
    defences = ["clean", "gn", "fgsm", "bim", "pgd", "vafa", "vafa_fr"]
    assert {name: list(rows) for name, rows in TABLE_2["synapse"].items()} == {"unetr": defences, "unetrpp": defences}
    assert {name: list(rows) for name, rows in TABLE_2["acdc"].items()} == {
        "unetr": defences[-2:],
        "unetrpp": defences[-2:],
    }
    base = {"clean": "", "pgd": "4", "fgsm": "4", "bim": "4", "vafa": "20"}
    for network, rows in TABLE_2["synapse"].items():
        assert rows["clean"] == {attack: TABLE_1[network][attack][budget][0] for attack, budget in base.items()}
