# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The checkpoints of a training: the best weights, and everything needed to resume."""

from __future__ import annotations

import os
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from monai.engines import Evaluator
from monai.handlers import CheckpointLoader

from .batch import inner_network

__all__ = ["TrainingCheckpoint"]


class TrainingCheckpoint:
    """
    Keep the best weights as ``model.pt``, and everything needed to resume a training as ``last.pt``.

    ``model.pt`` is a state dict, written whenever the key metric of a validation is the best so far. ``last.pt`` holds
    network, optimizer, schedule, trainer and the best metric, and is written at the end of epochs; attach the handler
    after those that validate, so that ``last.pt`` includes their results. Files are written by the first rank, and
    replaced in one step. Attach the handler on every rank; attaching it twice has no effect.

    Args:
        ckpt_dir: folder of both files; made when the training starts.
        evaluator: validates, and has a key metric, of which more is better.
        lr_scheduler: schedule of the learning rate, if there is one.
        every: number of epochs between two versions of ``last.pt``; it is also written at the end of the training.
        resume: continue from ``last.pt``.
    """

    def __init__(
        self,
        *,
        ckpt_dir: str | os.PathLike,
        evaluator: Evaluator,
        lr_scheduler: Any = None,
        every: int = 1,
        resume: bool = False,
    ) -> None:
        self.ckpt_dir = os.fspath(ckpt_dir)
        self.evaluator = evaluator
        self.lr_scheduler = lr_scheduler
        self.every = every
        self.resume = resume
        self._best: Checkpoint | None = None
        self._last: Checkpoint | None = None

    def attach(self, engine: Engine) -> None:
        """Keep the checkpoints of a ``SupervisedTrainer`` from now on."""
        if engine.has_event_handler(self._start):
            return
        engine.add_event_handler(Events.STARTED, self._start)
        self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._save_best)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every) | Events.COMPLETED, self._save_last)

    def _start(self, engine: Any) -> None:
        saver = DiskSaver(self.ckpt_dir, require_empty=False)
        network = inner_network(engine.network)
        self._best = Checkpoint({"model": network}, saver, filename_pattern="model.pt", score_function=self._score)
        state = {"model": network, "optimizer": engine.optimizer, "trainer": engine, "best": self._best}
        if self.lr_scheduler is not None:
            state["lr_scheduler"] = self.lr_scheduler
        self._last = Checkpoint(state, saver, filename_pattern="last.pt")
        if self.resume:
            CheckpointLoader(os.path.join(self.ckpt_dir, "last.pt"), state, map_location=engine.state.device)(engine)

    def _score(self, evaluator: Any) -> float:
        return evaluator.state.metrics[evaluator.state.key_metric_name]

    def _save_best(self, evaluator: Engine) -> None:
        if self._best is not None:
            self._best(evaluator)

    def _save_last(self, engine: Engine) -> None:
        if self._last is not None:
            self._last(engine)
