# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import os

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import Checkpoint, DiskSaver
from ignite.metrics import Metric
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler

from monai_vafa.atomic import write_file
from monai_vafa.handlers import TrainingCheckpoint
from monai_vafa.hardening import run_training
from monai_vafa.results.files import folder_lock


class Told(Metric):
    """A metric with a given value for each validation."""

    def __init__(self, values):
        self.values = list(values)
        super().__init__()

    def reset(self):
        pass

    def update(self, output):
        pass

    def compute(self):
        return self.values.pop(0)


@pytest.fixture
def run(network, batches, loss_function, tmp_path):
    """Train and validate after each epoch, with the given scores."""

    def call(scores, *, epochs, network=network, interval=1, lr=0.1, length=None, watch=(), **options):
        device = torch.device("cpu")
        metric = {"dsc": Told(scores)}
        evaluator = SupervisedEvaluator(device, batches[:1], network, key_val_metric=metric)
        optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        keeper = TrainingCheckpoint(ckpt_dir=tmp_path / "models", evaluator=evaluator, lr_scheduler=schedule, **options)
        trainer = SupervisedTrainer(
            device,
            epochs,
            batches,
            network,
            optimizer,
            loss_function,
            epoch_length=length,
            train_handlers=[LrScheduleHandler(schedule), ValidationHandler(interval, evaluator), keeper, keeper],
        )
        for event, handler in watch:
            trainer.add_event_handler(event, handler)
        weights = []
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: weights.append(copy.deepcopy(network.state_dict())))
        run_training(trainer)
        return trainer, weights

    return call


def best(folder):
    return torch.load(folder / "models" / "model.pt", weights_only=True)


def last(folder):
    return torch.load(folder / "models" / "last.pt", weights_only=True)


def summary(folder):
    return json.loads((folder / "models" / "summary.json").read_text())


def test_the_best_weights_are_kept(run, tmp_path):
    _, weights = run([0.2, 0.5, 0.4], epochs=3)
    torch.testing.assert_close(best(tmp_path), weights[1])
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["last.pt", "model.pt", "summary.json"]


def test_a_resumed_training_is_that_of_an_unbroken_one(run, network, tmp_path):
    start = copy.deepcopy(network)
    _, unbroken = run([0.2, 0.5, 0.4, 0.3], epochs=4)
    run([0.2, 0.5], epochs=2, network=copy.deepcopy(start))
    trainer, resumed = run([0.4, 0.3], epochs=4, network=copy.deepcopy(start), resume=True)
    assert trainer.state.iteration == 12
    torch.testing.assert_close(resumed[-1], unbroken[-1])
    # The second epoch is still the best.
    torch.testing.assert_close(best(tmp_path), unbroken[1])


def test_one_training_at_a_time_has_the_folder(run, tmp_path):
    run([0.2], epochs=1)
    with folder_lock(tmp_path / "models"), pytest.raises(ValueError, match=r"ckpt_dir='.*models' is in use by another"):
        run([0.2], epochs=1)
    assert summary(tmp_path)["status"] == "complete"  # still that of the other training
    with pytest.raises(RuntimeError, match="broken"):
        run([0.2] * 2, epochs=2, watch=[fail(RuntimeError("broken"))])
    run([0.2], epochs=1)
    assert not (tmp_path / "models" / ".lock").exists()


def test_a_training_that_failed_unnoticed_does_not_keep_the_folder(run, monkeypatch, tmp_path):
    """A trainer that is run by itself tells its handlers of no error."""
    kept = []
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.run_training", lambda trainer: (kept.append(trainer), trainer.run()))
        with pytest.raises(RuntimeError, match="broken"):
            run([0.2] * 2, epochs=2, watch=[fail(RuntimeError("broken"))])
    run([0.2], epochs=1)
    assert summary(tmp_path)["status"] == "complete"


def test_a_training_killed_before_its_first_checkpoint_leaves_nothing_behind(run, tmp_path):
    run([0.2], epochs=1)
    first = {path.name: path.read_bytes() for path in (tmp_path / "models").iterdir()}
    run([0.3], epochs=1)
    for name in ("model.pt", "last.pt"):
        (tmp_path / "models" / name).unlink()
    run([0.4], epochs=1)
    assert {name: (tmp_path / "models" / f"earlier_{name}").read_bytes() for name in first} == first


def test_a_finished_training_is_tidied_up_too(run, tmp_path):
    run([0.2], epochs=1)
    partial = []
    write_file(tmp_path / "models" / "a", lambda path: (partial.append(path), path.write_text("")))
    (tmp_path / "models" / "a").rename(partial[0])
    run([0.2], epochs=1, resume=True)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["last.pt", "model.pt", "summary.json"]


def test_every_few_epochs_and_at_the_end(run, tmp_path):
    run([0.1] * 3, epochs=3, every=2)
    assert torch.load(tmp_path / "models" / "last.pt", weights_only=True)["trainer"]["iteration"] == 9


def test_nothing_to_resume_from(run):
    with pytest.raises(FileNotFoundError, match=r"last\.pt"):
        run([], epochs=1, resume=True)


@pytest.mark.parametrize(("epochs", "interval"), [(1, 2), (2, 5), (3, 2)])
def test_the_last_epoch_is_validated_and_saved(epochs, interval, run, tmp_path, caplog):
    """Also by a training that its validation would never meet; and what is named was made by it."""
    caplog.set_level(logging.INFO)
    scores = [0.1] * (epochs // interval) + [0.2]
    trainer, weights = run(list(scores), epochs=epochs, interval=interval)
    assert trainer.network.training
    torch.testing.assert_close(best(tmp_path), weights[-1])
    assert summary(tmp_path)["best"]["epoch"] == epochs
    assert f"{tmp_path}/models/model.pt (epoch {epochs}, dsc 0.2000)" in caplog.text


def test_the_weights_of_a_training_that_ends_early_are_validated(run, tmp_path):
    stop = (Events.EPOCH_COMPLETED(once=2), lambda engine: engine.terminate())
    _, weights = run([0.3], epochs=9, interval=5, watch=[stop])
    torch.testing.assert_close(best(tmp_path), weights[1])


def test_weights_of_an_earlier_training_are_not_taken_for_those_of_this_one(run, tmp_path):
    run([0.9], epochs=1)
    earlier = (tmp_path / "models" / "model.pt").read_bytes()
    seen = []
    look = (Events.ITERATION_COMPLETED(once=1), lambda: seen.append((tmp_path / "models" / "model.pt").exists()))
    _, weights = run([0.1], epochs=1, watch=[look])
    assert seen == [False]
    torch.testing.assert_close(best(tmp_path), weights[0])
    assert (tmp_path / "models" / "earlier_model.pt").read_bytes() == earlier


def test_scores_that_are_not_numbers_keep_nothing_and_say_so(run, tmp_path):
    _, weights = run([math.nan, 0.2], epochs=2)
    torch.testing.assert_close(best(tmp_path), weights[1])
    with pytest.raises(RuntimeError, match=r"no weights were kept: dsc .*last\.pt"):
        run([math.nan, math.nan], epochs=2)
    assert not (tmp_path / "models" / "model.pt").exists()
    assert summary(tmp_path)["status"] == "failed"


def test_a_validation_without_data_is_refused_before_anything_is_written(network, batches, loss_function, tmp_path):
    device = torch.device("cpu")
    evaluator = SupervisedEvaluator(device, [], network, key_val_metric={"dsc": Told([0.1])})
    keeper = TrainingCheckpoint(ckpt_dir=tmp_path / "models", evaluator=evaluator)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    trainer = SupervisedTrainer(device, 1, batches, network, optimizer, loss_function, train_handlers=[keeper])
    with pytest.raises(ValueError, match="no key metric or no data"):
        trainer.run()
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2)])
def test_a_resumed_training_has_epochs_of_the_new_length(before, after, run, tmp_path):
    run([0.1] * 2, epochs=2, length=before)
    seen = []
    count = (Events.ITERATION_COMPLETED, lambda engine: seen.append((engine.state.epoch, engine.state.iteration)))
    run([0.2] * 2, epochs=4, length=after, resume=True, watch=[count])
    assert seen == [(epoch, (epoch - 1) * after + i) for epoch in (3, 4) for i in range(1, after + 1)]
    assert last(tmp_path)["trainer"]["epoch_length"] == after


@pytest.mark.parametrize("changed", [{"lr": 0.2}, {"start": {"seed": 1}}])
def test_what_a_checkpoint_would_overrule_is_refused(changed, run, tmp_path):
    run([0.1], epochs=1, start={"seed": 0})
    with pytest.raises(ValueError, match=r"another (learning_rate \(\[0\.1\], now \[0\.2\]\)|seed \(0, now 1\))"):
        run([0.2], epochs=2, resume=True, **{"start": {"seed": 0}, **changed})
    assert summary(tmp_path)["status"] == "complete"


def test_a_resumed_training_needs_its_best_weights(run, tmp_path):
    run([0.1], epochs=1)
    os.remove(tmp_path / "models" / "model.pt")
    with pytest.raises(FileNotFoundError, match=r"model\.pt does not exist"):
        run([0.2], epochs=2, resume=True)


def test_checkpoints_and_summary_record_the_weights_they_start_from(run, network, tmp_path):
    sha256 = hashlib.sha256()
    for name, value in network.state_dict().items():
        sha256.update(name.encode())
        sha256.update(value.numpy().tobytes())
    run([0.1, 0.3], epochs=2, start={"checkpoint_sha256": "abc"})
    start = {"checkpoint_sha256": "abc", "learning_rate": [0.1], "weights_sha256": sha256.hexdigest()}
    model = hashlib.sha256((tmp_path / "models" / "model.pt").read_bytes()).hexdigest()
    assert last(tmp_path)["record"]["start"] == start
    assert summary(tmp_path) == {
        **{"status": "complete", "epoch": 2, "max_epochs": 2, "start": start},
        "best": {"epoch": 2, "metric": "dsc", "score": pytest.approx(0.3), "model_sha256": model},
    }
    # They are those of the first run, also when it goes on.
    run([0.2], epochs=3, start={"checkpoint_sha256": "abc"}, resume=True)
    assert summary(tmp_path)["start"] == last(tmp_path)["record"]["start"] == start
    assert summary(tmp_path)["best"]["epoch"] == 2


def fail(error):
    def handler(engine):
        raise error

    return Events.ITERATION_COMPLETED(once=5), handler


def test_ctrl_c_ends_with_one_line_and_code_130(run, tmp_path, caplog):
    with pytest.raises(SystemExit) as stopped:
        run([0.1] * 3, epochs=3, watch=[fail(KeyboardInterrupt())])
    assert stopped.value.code == 130
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "Interrupted in epoch 2 of 3; resume=True goes on from last.pt"
    ]
    assert (summary(tmp_path)["status"], summary(tmp_path)["epoch"]) == ("interrupted", 2)
    trainer, _ = run([0.1] * 2, epochs=3, resume=True)
    assert (trainer.state.iteration, summary(tmp_path)["status"]) == (9, "complete")


def test_a_training_that_fails_says_so(run, tmp_path):
    with pytest.raises(RuntimeError, match="no luck"):
        run([0.1] * 3, epochs=3, watch=[fail(RuntimeError("no luck"))])
    assert summary(tmp_path)["status"] == "failed"


def test_savers_of_others_see_the_error(run, network, tmp_path):
    saver = Checkpoint({"network": network}, DiskSaver(tmp_path / "other"), filename_pattern="crash.pt")
    with pytest.raises(RuntimeError, match="no luck"):
        run([0.1] * 3, epochs=3, watch=[(Events.EXCEPTION_RAISED, saver_of(saver)), fail(RuntimeError("no luck"))])
    assert (tmp_path / "other" / "crash.pt").is_file()


def saver_of(saver):
    def save_and_raise(engine, error):
        saver(engine)
        raise error

    return save_and_raise
