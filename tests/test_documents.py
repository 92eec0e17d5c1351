# SPDX-License-Identifier: Apache-2.0
"""What the documents tell a reader to type exists: files, ids of configs, commands, links, Python."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_vafa import commands

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bundles/*/docs/README.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
CONFIG_OF = {"attack": "vafa_attack/configs/attack.json", "benchmark": "vafa_attack/configs/benchmark.json"}
CONFIG_OF["harden"] = "vaft_training/configs/train.json"
OF_RUN = {"run_id", "init_id", "final_id", "meta_file", "logging_file", "tracking", "args_file", "config_file", "debug"}
OF_COMMANDS = {"bundle", "dataset_dir", "ckpt_dir", "output_dir", "help"}


def text(name):
    return (ROOT / name).read_text()


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text(name), flags=re.MULTILINE | re.DOTALL)


def shell(name):
    """Commands as lists of words; those that a shell would have to expand are left out."""
    spans = re.findall(r"`(python -m [^`]+)`", text(name).replace("\n", " "))
    lines = [line for block in blocks(name, "bash") for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *spans]:
        for command in line.partition("  #")[0].split(" && "):
            if "python -m " in command and "$C" not in command:
                yield shlex.split(command)


def options(words):
    return {word[2:].partition("=")[0] for word in words if word.startswith("--") and len(word) > 2}


def check_ids(words, ids, known=frozenset()):
    for option in options(words):
        assert re.split("#|::", option)[0] in {*ids, *OF_RUN, *known}, f"no id {option} for {shlex.join(words)}"


@pytest.mark.parametrize("name", NAMES)
def test_runs_of_bundles_name_configs_and_ids_that_exist(name):
    folder = ROOT / name.removesuffix("docs/README.md") if name.startswith("bundles/") else ROOT
    for words in shell(name):
        if words[1:4] != ["-m", "monai.bundle", "run"] or "--config_file" not in words:
            continue
        given = words[words.index("--config_file") + 1]
        files = ast.literal_eval(given) if given.startswith("[") else [given]
        found = [next((base / file for base in (ROOT, folder) if (base / file).is_file()), None) for file in files]
        if any(file.startswith(("/", "my_")) for file in files):
            continue  # a reader's own
        assert None not in found, f"{name}: no {files}"
        check_ids(words, ConfigParser.load_config_files(found))


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_their_ids_exist(name):
    for words in shell(name):
        if words[1:3] == ["-m", "monai_vafa"] and len(words) > 3 and not words[3].startswith("-"):
            assert words[3] in commands.__all__, f"{name}: {shlex.join(words)}"
            if words[3] in CONFIG_OF:
                config = ConfigParser.load_config_file(ROOT / "bundles" / CONFIG_OF[words[3]])
                check_ids(words, config, OF_COMMANDS)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)\s]+)\)", text(name)):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            file = (ROOT / name).parent / path if path else ROOT / name
            assert file.exists(), f"{name}: {link}"
            headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE) if anchor else []
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert not anchor or anchor in slugs, f"{name}: {link}"


@pytest.mark.parametrize("name", NAMES)
def test_python_imports_what_exists(name):
    for code in blocks(name, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("monai_vafa"):
                module = __import__(node.module, fromlist=["_"])
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing or name == "docs/architecture.md", f"{name}: {node.module} has no {missing}"


def test_readme_has_two_commands_that_do_everything():
    """Each sets up its environment itself; CI runs the second word for word."""
    complete = [line for line in text("README.md").splitlines() if line.startswith("python3 -m venv")]
    demo, tests = complete
    assert demo.endswith("monai.bundle run --config_file bundles/vafa_attack/configs/attack.json")
    assert tests.endswith(" && .venv/bin/python -m pytest -n auto --dist loadfile")
    for line in complete:
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -e ")


@pytest.mark.parametrize("name", ["docs/reliability.md", "SECURITY.md"])
def test_promises_name_tests_that_exist(name):
    named = re.findall(r"`(?:tests/)?([\w/]+\.py)(?:::(\w+))?`", text(name))
    assert named
    for path, test in named:
        file = next((base / path for base in (ROOT / "tests", ROOT / "monai_vafa") if (base / path).is_file()), None)
        assert file is not None, f"{name}: no {path}"
        assert not test or f"def {test}(" in file.read_text(), f"{name}: {path} has no {test}"
