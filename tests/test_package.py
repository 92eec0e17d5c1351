# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import monai_vafa

PACKAGE = Path(monai_vafa.__file__).parent
# Data flows down this list; imports look up it only.
LAYERS = [
    "cache",
    "files",
    "frequency",
    "losses",
    "attacks",
    "metrics",
    "networks",
    "transforms",
    "handlers",
    "data",
    "bundle",
    "engines",
    "report",
    "commands",
]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_never_run_back_up(layer):
    files = (PACKAGE / layer).rglob("*.py") if (PACKAGE / layer).is_dir() else [PACKAGE / f"{layer}.py"]
    for file in files:
        for imported in re.findall(r"^\s*from monai_vafa\.(\w+)", file.read_text(), flags=re.MULTILINE):
            assert LAYERS.index(imported) <= LAYERS.index(layer), f"{file} imports {imported}"


def test_report_knows_no_network():
    for file in (PACKAGE / "report").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (torch|monai)\b", file.read_text(), flags=re.MULTILINE), file


@pytest.mark.parametrize("name", monai_vafa.__all__)
def test_subpackages_come_with_the_package(name):
    assert getattr(monai_vafa, name).__name__ == f"monai_vafa.{name}"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no_such"):
        monai_vafa.no_such  # noqa: B018


def test_command_line_lists_its_commands():
    done = subprocess.run([sys.executable, "-m", "monai_vafa", "--help"], capture_output=True, text=True, check=True)
    assert "fetch_lpips_trunk" in done.stdout + done.stderr


def test_package_is_typed():
    assert (PACKAGE / "py.typed").is_file()
