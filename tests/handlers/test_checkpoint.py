# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Metric
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler

from monai_vafa.handlers import TrainingCheckpoint


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

    def call(scores, *, epochs, network=network, **options):
        device = torch.device("cpu")
        metric = {"dsc": Told(scores)}
        evaluator = SupervisedEvaluator(device, batches[:1], network, key_val_metric=metric)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        keeper = TrainingCheckpoint(ckpt_dir=tmp_path / "models", evaluator=evaluator, lr_scheduler=schedule, **options)
        trainer = SupervisedTrainer(
            device,
            epochs,
            batches,
            network,
            optimizer,
            loss_function,
            train_handlers=[LrScheduleHandler(schedule), ValidationHandler(1, evaluator), keeper, keeper],
        )
        weights = []
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: weights.append(copy.deepcopy(network.state_dict())))
        trainer.run()
        return trainer, weights

    return call


def best(folder):
    return torch.load(folder / "models" / "model.pt", weights_only=True)


def test_the_best_weights_are_kept(run, tmp_path):
    _, weights = run([0.2, 0.5, 0.4], epochs=3)
    torch.testing.assert_close(best(tmp_path), weights[1])
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["last.pt", "model.pt"]


def test_a_resumed_training_is_that_of_an_unbroken_one(run, network, tmp_path):
    start = copy.deepcopy(network)
    _, unbroken = run([0.2, 0.5, 0.4, 0.3], epochs=4)
    run([0.2, 0.5], epochs=2, network=copy.deepcopy(start))
    trainer, resumed = run([0.4, 0.3], epochs=4, network=copy.deepcopy(start), resume=True)
    assert trainer.state.iteration == 12
    torch.testing.assert_close(resumed[-1], unbroken[-1])
    # The second epoch is still the best.
    torch.testing.assert_close(best(tmp_path), unbroken[1])


def test_every_few_epochs_and_at_the_end(run, tmp_path):
    run([0.1] * 3, epochs=3, every=2)
    assert torch.load(tmp_path / "models" / "last.pt", weights_only=True)["trainer"]["iteration"] == 9


def test_nothing_to_resume_from(run):
    with pytest.raises(FileNotFoundError, match=r"last\.pt"):
        run([], epochs=1, resume=True)
