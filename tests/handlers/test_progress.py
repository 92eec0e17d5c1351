# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from ignite.engine import Engine

from monai_vafa.handlers import TrainingProgress


def test_the_bar_goes_over_the_whole_training(capsys):
    engine = Engine(lambda engine, batch: None)
    bar = TrainingProgress("hardening")
    bar.attach(engine)
    bar.attach(engine)
    engine.run([0, 1], max_epochs=3)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "hardening: 100%" in last
    assert "6/6" in last


def test_a_resumed_training_starts_where_it_was(capsys):
    engine = Engine(lambda engine, batch: None)
    TrainingProgress().attach(engine)
    engine.load_state_dict({"epoch_length": 2, "max_epochs": 3, "iteration": 4})
    engine.run([0, 1])
    shown = capsys.readouterr().err
    assert "4/6" in shown
    assert "1/6" not in shown


def test_errors_of_the_training_are_not_hidden(capsys):
    def fail(engine, batch):
        raise RuntimeError("no luck")

    engine = Engine(fail)
    TrainingProgress().attach(engine)
    with pytest.raises(RuntimeError, match="no luck"):
        engine.run([0])
