# SPDX-License-Identifier: Apache-2.0
"""Two bundles that both call their package ``scripts`` stay apart in one process."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
import torch

from monai_vafa.target import open_target
from monai_vafa.target.scripts import BundleModules, own_modules

from . import zoo


def folder_of(path, answer):
    (path / "scripts").mkdir(parents=True)
    (path / "scripts" / "__init__.py").write_text("class Own: pass\n")
    (path / "scripts" / "late.py").write_text(f"ANSWER = {answer}\n")
    return path


@pytest.fixture
def two(tmp_path):
    return [BundleModules(folder_of(tmp_path / name, n)) for n, name in enumerate(("one", "other"))]


def late():
    return importlib.import_module("scripts.late").ANSWER


def test_names_of_modules(tmp_path):
    folder_of(tmp_path, 0)
    (tmp_path / "helper.py").touch()
    (tmp_path / "configs").mkdir()
    assert own_modules(tmp_path) == {"scripts", "helper"}


def test_each_block_has_its_own_modules_and_keeps_them(two):
    kept = []
    for n in (0, 1, 0, 1):
        with two[n]:
            assert late() == n
            kept.append(importlib.import_module("scripts").Own)
    assert kept[0] is kept[2]
    assert kept[1] is kept[3]
    assert kept[0] is not kept[1]


def test_blocks_may_be_nested(two):
    with two[0]:
        own = importlib.import_module("scripts")
        with two[0]:
            assert importlib.import_module("scripts") is own
        with two[1]:
            assert late() == 1
        assert importlib.import_module("scripts") is own
        assert late() == 0


def test_nothing_is_left_even_after_an_error(two, monkeypatch):
    monkeypatch.setitem(sys.modules, "scripts", json)
    path = list(sys.path)
    with pytest.raises(ZeroDivisionError), two[0]:
        assert late() == 0
        _ = 1 / 0
    assert sys.modules["scripts"] is json
    assert "scripts.late" not in sys.modules
    assert sys.path == path


def test_two_bundles_work_in_turns(tmp_path):
    """Their transforms import a module of the bundle when they are called."""
    bundles = [zoo.own_scripts(tmp_path / name) for name in ("one", "other")]
    for n, bundle in enumerate(bundles):
        (bundle.folder / "scripts" / "late.py").write_text(f"FACTOR = {n + 1}\n")
        parts = bundle.folder / "scripts" / "parts.py"
        scaled = "from scripts.late import FACTOR\n        return {**data, self.name: FACTOR * torch.cat("
        parts.write_text(parts.read_text().replace("return {**data, self.name: torch.cat(", scaled))
    targets = [open_target(bundle.folder, overrides=bundle.overrides) for bundle in bundles]
    images = [target.preprocess(target.cases()[0])["image"] for target in (*targets, *targets)]
    assert torch.equal(images[1], 2 * images[0])
    assert all(torch.equal(one, other) for one, other in zip(images[:2], images[2:], strict=True))
    assert "scripts" not in sys.modules
