# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import math
import os

import pytest
import torch

from monai_vafa.atomic import remove_partial_files, write_file, write_torch
from monai_vafa.results.files import CsvTable, folder_lock, number, read_rows, read_text, write_rows, write_text


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


def test_a_folder_keeps_its_name_in_every_locale(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "fsdecode", lambda name: name.decode("latin-1"))
    write_text(tmp_path / "Gefäß" / "a", "text")
    assert read_text(tmp_path / "Gefäß" / "a") == "text"


def test_weights_do_not_depend_on_the_process(tmp_path):
    """Their hashes are compared."""
    write_torch(tmp_path / "a.pt", {"weight": torch.ones(2)})
    torch.testing.assert_close(torch.load(tmp_path / "a.pt", weights_only=True), {"weight": torch.ones(2)})
    assert str(os.getpid()).encode() not in (tmp_path / "a.pt").read_bytes()


def full(partial):
    partial.write_text("ha")
    raise OSError(errno.ENOSPC, "No space left on device")


def hidden(partial):
    """As torch.save does it."""
    try:
        full(partial)
    finally:
        raise RuntimeError("unexpected pos 640 vs 598")


@pytest.mark.parametrize("write", [full, hidden])
def test_an_error_of_the_disk_names_the_file_and_the_way_out(write, tmp_path):
    with pytest.raises(OSError, match=r"No space left.* is kept.*start the run again: '.*file\.txt'") as refusal:
        write_file(tmp_path / "file.txt", write)
    assert refusal.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_as_they_are(tmp_path):
    with pytest.raises(RuntimeError, match=r"^no disk$"):
        write_file(tmp_path / "file.txt", lambda partial: fail(RuntimeError("no disk")))
    with pytest.raises(OSError, match=r"^no number$"):
        write_file(tmp_path / "file.txt", lambda partial: fail(OSError("no number")))


def fail(error):
    raise error


def test_a_folder_that_can_not_be_written_is_named_by_its_parameter(tmp_path):
    (tmp_path / "file").write_text("")
    said = r"ckpt_dir='.*out' can not be written \(.*Not a directory.*\): choose another ckpt_dir"
    with pytest.raises(ValueError, match=said), folder_lock(tmp_path / "file" / "out", "ckpt_dir"):
        pass


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


def test_a_column_that_damage_made_is_left_out_when_the_table_is_written(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("case,dsc,lpips,lost,lxst\na,0.5,,,\nb,,,1,\n")
    table = CsvTable(path, ("case",), known=("dsc", "lpips"))
    table.write()
    assert path.read_text() == "case,dsc,lpips,lost\na,0.5,,\nb,,,1\n"
