# SPDX-License-Identifier: Apache-2.0
"""Handlers, evaluations and commands with generated batches, parameters and words."""

from __future__ import annotations

import copy
import csv
import json
import math
import re
import shutil
import sys

import pytest
import torch
from hypothesis import strategies as st
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.losses import DiceCELoss

from monai_vafa import __main__ as command_line
from monai_vafa import commands
from monai_vafa.attacks import ROSTER, BasicIterative
from monai_vafa.evaluation import AttackRows
from monai_vafa.handlers import AttackHandler, EpochSeedHandler, VAFTHandler
from monai_vafa.target import open_target, shipped_bundles
from tests.target import zoo

from .judge import fingerprint, generated, refused, right_or_refused
from .strategies import JSON_VALUES, Judged, damages, fields_of, typos, values, volumes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    return Judged()


@st.composite
def batches(draw):
    """A batch of two volumes with labels, sometimes such as no network takes."""
    if draw(st.sampled_from((True, False, False, False))):
        image = draw(volumes(kinds=("tensor", "meta")))
        return {"image": torch.as_tensor(image) if isinstance(image, torch.Tensor) else torch.zeros(0)}
    shape = (2, 1, 6, 6, 6)
    floats = ("float32", "float32", "float64", "float16", "uint8")
    image = draw(volumes(st.just(shape), dtypes=floats, kinds=("tensor", "meta")))
    label = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9))))
    return {"image": image, "label": label + draw(st.sampled_from((0, 0, 0, 0, 1, -1)))}


WORDS = ("image", "label", "attack", "intensity_range", "logits", "network")


@generated(12, 250, batch=batches(), key=st.sampled_from(("image", "image", "image", "picture", 0, None)))
def test_attack_handler(network, batch, key):
    handler = AttackHandler(attack=BasicIterative(steps=1, intensity_range=None), image_key=key)
    network = copy.deepcopy(network).eval()  # as the engine leaves it
    evaluator = SupervisedEvaluator(
        device=CPU, val_data_loader=[batch], network=network, decollate=False, val_handlers=[handler]
    )
    evaluator.logger.disabled = True
    seen = []
    evaluator.add_event_handler(Events.ITERATION_STARTED, lambda engine: seen.append(engine.state.batch["image"]))
    ended = right_or_refused(evaluator.run, batch, names=(*WORDS, "image_key"), network=network, draws=True)
    if not refused(ended) and seen:
        assert seen[0].shape == batch["image"].shape
        assert torch.isfinite(seen[0]).all()


@st.composite
def handlers(draw):
    """A handler and a parameter with some value."""
    make, names = draw(
        st.sampled_from(
            (
                (AttackHandler, ("attack",)),
                (EpochSeedHandler, ("seed",)),
                (
                    VAFTHandler,
                    ("attack", "clean_weight", "adversarial_weight", "frequency_weight", "every", "warmup_epochs"),
                ),
            )
        )
    )
    return make, draw(st.sampled_from(names)), draw(values)


@generated(30, 600, case=handlers())
def test_parameters_of_handlers(case):
    make, parameter, value = case
    names = (parameter, "weight")
    handler = right_or_refused(lambda: make(**{parameter: value}), names=names)
    if not refused(handler) and make is EpochSeedHandler:
        assert type(handler.seed) is int


WEIGHTS = st.sampled_from((1.0, 1.0, 0.0, 0.5, 1e30))


@generated(4, 100, batch=batches(), clean=WEIGHTS, adversarial=WEIGHTS, frequency=WEIGHTS)
def test_hardening(network, batch, clean, adversarial, frequency):
    weights = {"clean_weight": clean, "adversarial_weight": adversarial, "frequency_weight": frequency}
    attack = BasicIterative(steps=1, intensity_range=None)
    handler = right_or_refused(lambda: VAFTHandler(attack=attack, **weights), names=("_weight",))
    if refused(handler) or "label" not in batch or not torch.isfinite(batch["image"].float()).all():
        return
    trained = copy.deepcopy(network)
    trainer = SupervisedTrainer(
        device=CPU,
        max_epochs=1,
        train_data_loader=[{**batch, "image": batch["image"].float().detach()}],
        network=trained,
        optimizer=torch.optim.SGD(trained.parameters(), 1e-6),
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        train_handlers=[handler],
        decollate=False,
    )
    trainer.logger.disabled = True
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output["loss"]))
    )
    ended = right_or_refused(trainer.run, batch, names=WORDS, draws=True)
    if not refused(ended):
        assert all(map(math.isfinite, losses)) or max(weights.values()) > 1


@st.composite
def rosters(draw):
    """Rows of an evaluation: names, or names and parameters, some with typos."""
    name = draw(st.sampled_from(list(ROSTER)))
    kind = draw(st.sampled_from(("name", "typo", "parameter", "value", "any", "sweep")))
    if kind == "name":
        return [name], None
    if kind == "typo":
        return [draw(typos(name))], None
    parameter = draw(st.sampled_from(fields_of(ROSTER[name].attack)))
    if kind == "any":
        return draw(values), None
    if kind == "sweep":
        return {name: {}}, draw(st.one_of(values, st.just({name: {parameter: draw(values)}})))
    return {name: {draw(typos(parameter)) if kind == "parameter" else parameter: draw(values)}}, None


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return open_target(zoo.softmax(tmp_path_factory.mktemp("zoo")).folder, device="cpu")


@generated(25, 600, case=rosters())
def test_rows(target, case):
    attacks, sweeps = case
    names = ("attack", "sweeps", "roster", "sweep", "'", "=")
    rows = right_or_refused(lambda: AttackRows(attacks, sweeps=sweeps), names=names)
    if not refused(rows):
        right_or_refused(lambda: rows.build(target), names=names)


@pytest.fixture
def asked():
    """What MONAI is asked to run, which then does not run."""
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands.monai.bundle, "run", lambda **words: calls.append(words))
        yield calls


CONFIGS = {"attack": "vafa_attack/configs/attack.json", "benchmark": "vafa_attack/configs/benchmark.json"}
CONFIGS["harden"] = "vaft_training/configs/train.json"
IDS = {name: list(ConfigParser.load_config_file(str(shipped_bundles() / path))) for name, path in CONFIGS.items()}
TEXTS = (
    *(
        "",
        "None",
        "True",
        "false",
        "nan",
        "inf",
        "-1",
        "0",
        "1e400",
        "10" * 200,
        "[]",
        "{}",
        "{'a': 1}",
        "[1, 2",
        "(",
        "$1",
    ),
    *(
        "@network",
        "$nosuch",
        "%attacks",
        "a#b",
        "a::b",
        "'",
        '"',
        "é",
        "--",
        "-",
        "-x",
        "=",
        "a=b",
        "\\",
        "1,2",
        "\n",
        "*",
    ),
)


OPTIONS = st.dictionaries(st.sampled_from(IDS["attack"]), st.sampled_from(JSON_VALUES))


@generated(6, 150, content=OPTIONS, damage=damages())
def test_files_of_options(asked, tmp_path, content, damage):
    path = tmp_path / "args.json"
    if path.is_dir():
        path.rmdir()
    path.write_text(json.dumps(content))
    damage(path)
    names = (str(path), "=", "id", "reads")
    right_or_refused(lambda: commands.attack(args_file=str(path)), path, names=names, draws=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return zoo.pictures(tmp_path_factory.mktemp("zoo"))


@st.composite
def attacks(draw):
    """A parameter of an attack as a config or command line has it."""
    name = draw(st.sampled_from(("gn", "fgsm", "bim", "pgd", "square", "vafa2d", "quantize_only")))
    value = draw(st.sampled_from((*JSON_VALUES, math.nan, math.inf, -3, 1e30, "4", [0, 255])))
    return name, draw(st.sampled_from(fields_of(ROSTER[name].attack))), value


@generated(2, 60, case=attacks())
def test_runs(pictures, tmp_path, case):
    name, parameter, value = case
    if parameter == "steps" and isinstance(value, (int, float)) and value > 100:
        return
    parameters = {**({"steps": 1} if name in ("bim", "pgd", "vafa2d") else {}), parameter: value}
    words = ["attack", str(pictures.folder), str(pictures.data), "--attacks", str({name: parameters})]
    words += ["--visibility_metrics", "{}", "--output_dir", str(tmp_path / "out"), "--logging_file", "False"]
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["monai_vafa", *words])
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr("monai_vafa.report.page.can_draw", lambda: False)
        patch.chdir(tmp_path)
        try:
            command_line.main()
        except SystemExit as left:
            assert re.match(f"Error: [^\n]*({parameter}|attack|loss|{name}|'nosuch'|@network)", str(left.code)), (
                left.code
            )
            assert "Traceback" not in left.code
            return
    for path in ("cases.csv", "metrics.csv"):
        with open(tmp_path / "out" / path, newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows
        assert not any(cell in ("nan", "inf", "-inf") for row in rows for cell in row.values())


@st.composite
def lines(draw):
    """Words of a command line."""
    command = draw(st.sampled_from((*CONFIGS, *CONFIGS, "bundle", "convert", "atack")))
    words = [command]
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.one_of(st.sampled_from(TEXTS), st.text(max_size=6)))
        if draw(st.booleans()) and command in IDS:
            id_ = draw(st.sampled_from(IDS[command]))
            id_ = draw(typos(id_)) if draw(st.integers(0, 2)) == 0 and id_.isidentifier() else id_
            words += [f"--{id_}={text}"] if draw(st.booleans()) else [f"--{id_}", text]
        else:
            words.append(text)
    return words


@generated(25, 900, words=lines())
def test_commands(asked, tmp_path, words):
    asked.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["monai_vafa", *words])
        patch.chdir(tmp_path)
        before = fingerprint(tmp_path)
        try:
            command_line.main()
        except SystemExit as left:
            if isinstance(left.code, str):
                assert "\n" not in left.code or not left.code.startswith("Error"), left.code
                kind = left.code.removeprefix("Error: ").partition(":")[0]
                assert not kind.endswith("Error") or kind in ("TypeError", "OSError", "NotADirectoryError"), left.code
            assert not asked
        if words[0] in CONFIGS:
            assert fingerprint(tmp_path) == before
