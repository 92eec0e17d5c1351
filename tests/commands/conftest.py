# SPDX-License-Identifier: Apache-2.0
"""A place and a way to run commands."""

from __future__ import annotations

import logging
import sys

import pytest

from monai_vafa import __main__ as command_line


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def run(monkeypatch):
    """A command in this process; handlers of the log stay as they are."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["monai_vafa", *map(str, words), "--logging_file", "False"])
        command_line.main()

    yield call
    logging.getLogger("monai_vafa.evaluation").filters.clear()
