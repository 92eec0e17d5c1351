# SPDX-License-Identifier: Apache-2.0
"""docs/architecture.md is true: imports run one way, and its exercises work as written."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import monai_vafa
from monai_vafa.attacks.roster import ROSTER

PACKAGE = Path(monai_vafa.__file__).parent
ROOT = PACKAGE.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()
# rows of the table of folders, in its order
ORDER = re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE)
# what these may import of the package; the others import any room above them
ONLY = {
    "report": {"atomic", "results", "attacks.roster"},
    "paper": {"results", "report"},
    "handlers": {"atomic", "outputs", "losses", "attacks", "data.paths", "results.files"},
}


def files(room):
    return sorted((PACKAGE / room).rglob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]


def imported(file):
    """Full names of the modules of the package that a file imports, wherever in the file."""
    package = ("monai_vafa", *file.relative_to(PACKAGE).with_suffix("").parts)[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "monai_vafa" else [module]
        else:
            continue
        yield from (name.removeprefix("monai_vafa.") for name in names if name.startswith("monai_vafa."))


def test_the_document_names_every_room():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert set(ORDER) == rooms - {"__init__", "__main__"}


@pytest.mark.parametrize("room", ORDER)
def test_imports_run_one_way(room):
    for file in files(room):
        for name in imported(file):
            other = name.partition(".")[0]
            assert ORDER.index(other) <= ORDER.index(room), f"{file} imports {name}"


@pytest.mark.parametrize("room", ONLY)
def test_rooms_that_know_little(room):
    for file in files(room):
        for name in imported(file):
            allowed = any(f"{name}.".startswith(f"{known}.") for known in (room, *ONLY[room]))
            assert allowed, f"{file} imports {name}"


def test_report_and_paper_know_no_network():
    for file in (*files("report"), *files("paper")):
        assert not re.search(r"^\s*(import|from) (torch|monai)\b", file.read_text(), flags=re.MULTILINE), file


def exercise(number):
    """Code blocks of an exercise, as (language, code)."""
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(f"Exercise {number}:"))
    return re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def type_command(number):
    """Runs the one command of an exercise in the working directory."""
    ((_, command),) = (block for block in exercise(number) if block[0] == "bash")
    words = shlex.split(command.replace("\\\n", " "))
    subprocess.run([sys.executable, *words[1:]], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture
def do(tmp_path, monkeypatch):
    """Runs the exercises in an empty folder, as a reader would who types them one after the other."""
    monkeypatch.chdir(tmp_path)
    known = list(ROSTER)
    module = ModuleType("exercises")
    monkeypatch.setitem(sys.modules, "exercises", module)
    names = vars(module)

    def run(number):
        for language, code in exercise(number):
            if language == "python":
                exec(compile(code, f"exercise {number}", "exec", dont_inherit=True), names)
        return names

    yield run
    for name in [name for name in ROSTER if name not in known]:
        del ROSTER[name]


def test_exercise_1_attacks_a_bundle_of_ones_own(do, tmp_path):
    dsc = do(1)["dsc"]
    assert dsc["clean"] > 0.9
    assert abs(dsc["gn"] - dsc["clean"]) < 0.005
    assert dsc["pfa"] < dsc["pgd"] < dsc["clean"] - 0.01
    type_command(1)
    page = (tmp_path / "output" / "bright_spot" / "index.html").read_text()
    assert "spot" in page and "pfa" in page


def test_exercise_2_adds_an_attack(do, tmp_path):
    do(1)
    names = do(2)
    assert names["dsc"]["slice_gain"] < names["dsc"]["clean"]
    assert names["attacked"]["image"].shape == (1, 16, 16, 24)
    page = (tmp_path / "output" / "benchmark" / "index.html").read_text()
    assert "slice_gain" in page and "DSC at equal SSIM" in page
    points = (tmp_path / "output" / "benchmark" / "equal_visibility.csv").read_text()
    assert points.count("slice_gain,gain") == 3
    length = next(len(code.splitlines()) for _, code in exercise(2))
    assert length <= 45, "an attack should not need more"


def test_exercise_3_adds_a_metric(do, tmp_path):
    do(1)
    do(3)
    header = (tmp_path / "output" / "volume_error" / "cases.csv").read_text().partition("\n")[0]
    assert "volume_error" in header.split(",")
    assert "volume_error" in (tmp_path / "output" / "volume_error" / "index.html").read_text()
    type_command(3)
    header = (tmp_path / "output" / "iou" / "metrics.csv").read_text().partition("\n")[0]
    assert header.split(",") == ["case", "attack", "class", "dsc", "hd95", "nsd", "iou", "voxels"]
