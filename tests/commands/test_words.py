# SPDX-License-Identifier: Apache-2.0
"""What is typed is what is used, and what is typed in vain is refused before anything runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import monai.bundle
import pytest
from fire.parser import DefaultParseValue

from monai_vafa import commands
from monai_vafa.options import read_words
from monai_vafa.target import find_bundle, open_target
from monai_vafa.target.config import as_config
from tests.target import zoo

from .runs import HARDEN, QUICK
from .test_refusals import refusal

ODD = ["2024_06_01", "20230101", "12e7814", "a#b", "1,2", "0x10", "data (1)", "user@host", "1.5", "a=b", "'quoted'"]


@pytest.fixture
def asked(monkeypatch):
    """What MONAI is asked to run, which then does not run."""
    calls = []
    monkeypatch.setattr(commands.monai.bundle, "run", lambda **words: calls.append(words))
    return calls


def read_by_monai(value):
    """A value as a config holds it in the end."""
    parser = monai.bundle.ConfigParser({"id": value})
    return parser.get_parsed_content("id")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("command", ["attack", "benchmark", "harden"])
def test_paths_and_names_stay_text(command, name, run, asked):
    run(command, name, "--dataset_dir", name, f"--checkpoint={name}", "--device", "cpu")
    text = name.strip("'")
    assert [read_by_monai(asked[0][id_]) for id_ in ("bundle", "dataset_dir", "checkpoint")] == [text] * 3


def test_the_line_that_is_logged_says_the_same(run, asked, caplog):
    caplog.set_level("INFO")
    for name in ODD[:-1]:
        caplog.clear()
        run("attack", name)
        line = next(line for line in caplog.text.splitlines() if line.startswith("python -m monai.bundle"))
        words = shlex.split(line)
        word = words[words.index("--bundle") + 1]
        assert read_by_monai(DefaultParseValue(word)) == name


@pytest.mark.parametrize("folder", ["with#sign", "2024_06_01", "20230101"])
def test_results_land_where_they_should(folder, run, tmp_path):
    bundle = zoo.pictures(tmp_path / folder)
    run("attack", bundle.folder, bundle.data, *QUICK, "--output_dir", folder)
    assert (Path(folder) / "cases.csv").is_file()
    assert [path.name for path in Path().iterdir()] == [folder]


def test_lists_and_objects_keep_their_signs():
    assert read_by_monai(as_config({"a": ["b#c", 1]})) == {"a": ["b#c", 1]}
    assert read_by_monai(as_config(["x", None])) == ["x", None]
    assert read_words(["attack", "--config_file", "['a.json', 'b.json']"])[-1] == "--config_file=['a.json', 'b.json']"


@pytest.mark.parametrize(("word", "value"), [("false", False), ("False", False), ("true", True), ("True", True)])
def test_switches_are_switches(word, value, run, asked):
    run("harden", "--resume", word)
    run("harden", f"--resume={word}")
    assert [each["resume"] for each in asked] == [value, value]
    assert "resume='off' must be True or False" in refusal(run, "harden", "--resume", "off")
    assert "checklist=0 must be True or False" in refusal(run, "benchmark", "--checklist", "0")
    assert "epochs='ten' must be a number" in refusal(run, "harden", "--epochs", "ten")


def test_surplus_words_are_refused_before_anything_runs(run, asked, tmp_path):
    (tmp_path / "labels").mkdir()
    for words in (
        ("attack", "B", "images", "labels"),
        ("harden", "B", "images", "weights"),
        ("attack", "B", "d", "x", "y"),
    ):
        assert "Could not consume arg: " in refusal(run, *words)
    assert "--output_dir needs a value" in refusal(run, "attack", "B", "--output_dir", "--steps", "3")
    assert "--seed is given twice" in refusal(run, "attack", "B", "--seed", "1", "--seed", "2")
    assert "Cannot find key: atack" in refusal(run, "atack", "B")
    assert not asked


@pytest.mark.parametrize(
    ("words", "id_"),
    [
        (("attack", "--attacks", "['pgd']", "--q_max", "30"), "q_max"),
        (
            ("attack", "--segmentation_metrics", "{}", "--visibility_metrics", "{}", "--lpips_trunk", "t.npz"),
            "lpips_trunk",
        ),
        (("harden", "--train#epochs", "3"), "train#epochs"),
        (("benchmark", "--rows", "{}", "--amp", "bfloat16"), "amp"),
    ],
)
def test_options_that_the_run_does_not_read_are_refused(words, id_, run, asked):
    assert f"nothing reads {id_!r} in this run" in refusal(run, *words)
    assert not asked


@pytest.mark.parametrize("id_", ["pixdim", "file_intensity_range", "datalist_file", "target_root"])
def test_options_of_no_config_are_refused(id_, run, asked):
    assert f"attack.json has no id '{id_}'" in refusal(run, "attack", "B", f"--{id_}", "1")


def test_options_that_go_together(run, asked, tmp_path):
    assert "give one" in refusal(run, "benchmark", "B", "--models", "{'a': {}}")
    assert "is read with --checklist True only" in refusal(run, "benchmark", "--checklist_sweeps", "{}")
    with pytest.raises(ValueError, match="version is for bundles of the model zoo, but bundle="):
        find_bundle(tmp_path, version="0.1.0")
    run("benchmark", "B", "--checklist_sweeps", "{}", "--checklist", "True")
    assert asked


def test_a_file_of_options_is_read_and_checked_like_words(run, asked, tmp_path):
    options = {"bundle": "mine", "steps": 7, "output_dir": "2024_06_01"}
    (tmp_path / "args.json").write_text(json.dumps(options))
    run("attack", "--args_file", tmp_path / "args.json", "--steps", "9")
    assert {id_: asked[0][id_] for id_ in options} == {**options, "steps": 9}
    for wrong, said in (
        ({"bundel": "mine"}, "has no id 'bundel'; did you mean 'bundle'?"),
        ({"output_dir": 20240601}, "output_dir=20240601 must be text, but is int"),
    ):
        (tmp_path / "args.json").write_text(json.dumps(wrong))
        assert said in refusal(run, "attack", "--args_file", tmp_path / "args.json")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"output_dir": 20230101}, "output_dir=20230101 must be text"),
        ({"dataset_dir": 20230101}, "dataset_dir=20230101 must be text"),
        ({"output_dir": "a#b"}, "output_dir='a::b' must be a path or name without '::'"),
    ],
)
def test_runs_of_monai_refuse_numbers_in_place_of_paths(given, said, tmp_path):
    config = str(find_bundle("vafa_attack") / "configs" / "attack.json")
    with pytest.raises(RuntimeError) as raised:
        monai.bundle.run(config_file=config, logging_file=False, **given)
    error = raised.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert said in str(error)
    assert not list(Path().iterdir())


def test_numbers_in_place_of_paths_are_refused_in_python(tiny_bundle):
    with pytest.raises(TypeError, match=r"bundle=20230101 must be text, but is int: in Python, JSON and YAML"):
        open_target(20230101)
    with pytest.raises(TypeError, match="checkpoint=20230101 must be text"):
        open_target(tiny_bundle.folder, checkpoint=20230101)
    with pytest.raises(TypeError, match="dataset_dir=20230101 must be text"):
        open_target(tiny_bundle.folder).cases(20230101)


@pytest.fixture
def tiny_bundle(tmp_path):
    return zoo.pictures(tmp_path / "zoo")


def test_a_bundle_with_the_old_run_id_is_hardened(run, tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    config = json.loads((bundle.folder / "configs" / "train.json").read_text())
    zoo.change(bundle.folder, "train", training=config["run"], run=None)
    run("harden", bundle.folder, bundle.data, *HARDEN)
    assert Path("output/hardened/model.pt").is_file()
