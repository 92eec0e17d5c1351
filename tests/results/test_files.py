# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from monai_vafa.results.files import CsvTable, number, read_rows, remove_partial_files, write_file, write_rows


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a" / "file.txt"
    write_file(path, lambda partial: partial.write_text("old"))

    def killed(partial):
        partial.write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, killed)
    assert path.read_text() == "old"
    remove_partial_files(tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "file.txt"]


def test_what_is_undefined_becomes_an_empty_cell(tmp_path):
    row = {"a": None, "b": math.nan, "c": math.inf, "d": 0.123456789, "e": 0, "left out": 1}
    write_rows(tmp_path / "t.csv", "abcde", [row])
    [read] = read_rows(tmp_path / "t.csv")
    assert read == {"a": "", "b": "", "c": "", "d": "0.123457", "e": "0"}
    assert [number(read[c]) for c in "ad"] == [None, 0.123457]


def test_rows_of_the_same_keys_give_way_and_are_sorted(tmp_path):
    table = CsvTable(tmp_path / "t.csv", ("case", "attack"))
    table.add([{"case": "b", "attack": "x", "v": 1}, {"case": "a", "attack": "y", "v": 2}])
    table.add([{"case": "b", "attack": "x", "v": 3}])
    table.write([["a", "b"]])
    again = CsvTable(tmp_path / "t.csv", ("case", "attack"))
    assert [(row["case"], row["v"]) for row in again.rows] == [("a", "2"), ("b", "3")]
