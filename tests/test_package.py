# SPDX-License-Identifier: Apache-2.0
"""The package as it is imported, installed and built."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import monai_vafa
from monai_vafa.target import shipped_bundles

PACKAGE = Path(monai_vafa.__file__).parent
ROOT = Path(__file__).parents[1]


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


def test_setup_names_every_folder_with_code():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders = {path.parent.relative_to(PACKAGE).parts for path in PACKAGE.rglob("__init__.py")}
    packages = {".".join(("monai_vafa", *parts)) for parts in folders} | {"monai_vafa.bundles"}
    assert set(setup["options"]["packages"].split()) == packages


@pytest.mark.slow
def test_a_wheel_has_all_that_the_commands_need(tmp_path):
    """Built from a copy, unpacked, and used from an empty folder."""
    tree = tmp_path / "tree"
    skipped = shutil.ignore_patterns("__pycache__", "eval", "last.pt")
    for name in ("monai_vafa", "bundles"):
        shutil.copytree(ROOT / name, tree / name, ignore=skipped)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, tree], check=True)
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    files = [path for path in shipped_bundles().rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    unwanted = ("eval", "last.pt")
    names = {
        str(path.relative_to(shipped_bundles())) for path in files if not any(word in path.parts for word in unwanted)
    }
    installed = tmp_path / "site" / "monai_vafa" / "bundles"
    assert {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()} == names

    for schema in ("results/result_files.schema.json", "report/leaderboard.schema.json"):
        assert (tmp_path / "site" / "monai_vafa" / schema).is_file()

    (tmp_path / "empty").mkdir()

    def run(*words):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
        # Not `-m` from the clone: the empty folder comes first on sys.path.
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path / "empty",
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    quick = ("--attacks", "{'vafa': {'steps': 1}}", "--visibility_metrics", "{}")
    said = run("monai_vafa", "attack", *quick)
    assert str(installed) in said
    assert (tmp_path / "empty" / "output" / "vafa_attack" / "index.html").is_file()
    run("monai_vafa", "bundle", "vafa_attack", "mine")
    config = ("--config_file", "mine/configs/attack.json")
    run("monai.bundle", "run", *config, "--output_dir", "again", *quick)
    assert (tmp_path / "empty" / "again" / "cases.csv").is_file()
