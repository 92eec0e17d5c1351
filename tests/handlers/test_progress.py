# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from monai.handlers import CheckpointSaver

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


@pytest.mark.parametrize("times", [1, 2])
def test_savers_after_it_save_when_the_training_fails(times, tmp_path, capsys):
    """Ignite gives an error to its handlers one after the other, until one raises it."""
    network = torch.nn.Linear(1, 1)

    def fail(engine, batch):
        if engine.state.iteration == 2:
            raise RuntimeError("no luck")

    engine = Engine(fail)
    for _ in range(times):
        TrainingProgress().attach(engine)
    saver = Checkpoint({"network": network}, DiskSaver(tmp_path), filename_pattern="crash.pt")
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: saver(engine))
    CheckpointSaver(str(tmp_path), {"network": network}, save_final=True, final_filename="final.pt").attach(engine)
    with pytest.raises(RuntimeError, match="no luck"):
        engine.run([0, 1], max_epochs=3)
    assert {path.name for path in tmp_path.iterdir()} == {"crash.pt", "final.pt"}


def test_after_an_error_the_bar_starts_anew(capsys):
    engine = Engine(lambda engine, batch: 1 // (3 - batch))
    TrainingProgress().attach(engine)
    with pytest.raises(ZeroDivisionError):
        engine.run([1, 2, 3])
    capsys.readouterr()
    engine.state.max_epochs = None
    engine.run([1, 2], max_epochs=1, epoch_length=2)
    assert "2/2" in capsys.readouterr().err.split("\r")[-1]


def test_two_engines_do_not_count_double(capsys):
    """As where a handler is in two lists, or an evaluator runs within the training."""
    bar = TrainingProgress()
    trainer, evaluator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
    for engine in (trainer, trainer, evaluator, trainer):
        bar.attach(engine)
    trainer.run([0, 1], max_epochs=3)
    assert "6/6" in capsys.readouterr().err.split("\r")[-1]
