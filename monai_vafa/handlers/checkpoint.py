# SPDX-License-Identifier: Apache-2.0
"""The checkpoints of a training: the best weights, everything needed to resume, and where it started."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from monai.engines import Evaluator
from monai.handlers import CheckpointLoader

from monai_vafa.atomic import remove_partial_files, write_torch
from monai_vafa.data.paths import file_sha256
from monai_vafa.results.files import folder_lock, write_json

from .attack import inner_network

logger = logging.getLogger(__name__)

_MODEL, _LAST, _SUMMARY = "model.pt", "last.pt", "summary.json"
_LOCKS: dict[Path, ExitStack] = {}  # of folders of trainings


class TrainingCheckpoint:
    """
    Keep the best weights as ``model.pt``, and everything needed to resume a training as ``last.pt``.

    ``model.pt`` is a state dict, written whenever the key metric of a validation is the best so far. The weights at the
    end of the training are always validated, by this handler if by no other. ``last.pt`` holds network, optimizer,
    schedule, trainer, the best metric and what the training started from, and is written at the end of epochs; attach
    the handler after those that validate, so that ``last.pt`` includes their results. ``summary.json`` has status,
    start with the SHA-256 of the first weights, epoch, best epoch and its metric, SHA-256 of ``model.pt``.

    Files are written by the first rank, and replaced in one step. One training at a time has the folder; a new one
    renames the files of an earlier one to ``earlier_*``. Attach the handler on every rank.

    Args:
        ckpt_dir: folder of the files; made in the first epoch.
        evaluator: validates, and has a key metric, of which more is better.
        lr_scheduler: schedule of the learning rate, if there is one.
        every: number of epochs between two versions of ``last.pt``; it is also written at the end of the training.
        resume: continue from ``last.pt``. The epochs done stay done, also if the length of an epoch has changed.
        start: what the training starts from and is set to, as plain data. A training with another start, or another
            learning rate, can't resume from ``last.pt``.
    """

    def __init__(
        self,
        *,
        ckpt_dir: str | os.PathLike,
        evaluator: Evaluator,
        lr_scheduler: Any = None,
        every: int = 1,
        resume: bool = False,
        start: Mapping[str, Any] | None = None,
    ) -> None:
        self.ckpt_dir = Path(ckpt_dir)
        self.evaluator = evaluator
        self.lr_scheduler = lr_scheduler
        self.every = every
        self.resume = resume
        self.start = dict(start or {})
        self.best: dict[str, Any] = {}  # epoch, metric and score of the best validation
        self._state: dict[str, Any] = {}  # name -> what last.pt holds the state of; once the training has started
        self._began = False
        self._validated = -1  # iteration of the last validation

    def attach(self, engine: Engine) -> None:
        """Keep the checkpoints of a ``SupervisedTrainer`` from now on."""
        if engine.has_event_handler(self._start):
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._save_best)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self._save_last)
        engine.add_event_handler(Events.COMPLETED, self._complete)
        engine.add_event_handler(Events.INTERRUPT, self._interrupted)

    def state_dict(self) -> dict[str, Any]:
        """What the training started from, and its best validation."""
        return {"start": self.start, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over those of the training to resume; refuse another start."""
        kept = state["start"]
        # The first weights of a training from scratch may be random, and are not needed any more.
        names = sorted({*kept, *self.start} - {"weights_sha256"})
        if changed := [name for name in names if kept.get(name) != self.start.get(name)]:
            told = ", ".join(f"{name} ({kept.get(name)}, now {self.start.get(name)})" for name in changed)
            raise ValueError(
                f"{_LAST} belongs to a training with another {told}: resume with what it was started with, or start "
                f"anew (resume=False), for example from its {_MODEL}."
            )
        self.start, self.best = kept, state["best"]

    def _start(self, engine: Any) -> None:
        """Check that there is something to choose weights by, and load what is to be resumed; write nothing."""
        if self._state:  # a trainer that runs again goes on
            return
        if self.evaluator.state.key_metric_name is None or self.evaluator.state.epoch_length == 0:
            raise ValueError("evaluator has no key metric or no data: no weights could be chosen. Give it both.")
        network = inner_network(engine.network)
        rates = [float(group.get("initial_lr", group["lr"])) for group in engine.optimizer.param_groups]
        self.start |= {"learning_rate": rates, "weights_sha256": _weights_sha256(network)}
        parts = {"record": self, "model": network, "optimizer": engine.optimizer, "trainer": engine}
        parts |= {"lr_scheduler": self.lr_scheduler, "scaler": getattr(engine, "scaler", None)}
        self._state = {name: part for name, part in parts.items() if part is not None}
        if self.resume:
            self._load(engine)

    def _load(self, engine: Any) -> None:
        length = engine.state.epoch_length
        CheckpointLoader(str(self.ckpt_dir / _LAST), self._state, map_location=engine.state.device)(engine)
        if self.best and not (self.ckpt_dir / _MODEL).is_file():
            raise FileNotFoundError(
                f"{self.ckpt_dir / _MODEL} does not exist, the best weights so far: put it back, or use resume=False."
            )
        if length not in (None, engine.state.epoch_length):
            engine.state.epoch_length, engine.state.iteration = length, engine.state.epoch * length
        logger.info(
            "resumed after epoch %d of %d, with epochs of %s iterations",
            *(engine.state.epoch, engine.state.max_epochs, engine.state.epoch_length),
        )

    @idist.one_rank_only()
    def _begin(self, engine: Engine) -> None:
        """At the start of the first epoch, when all other handlers have accepted the training."""
        if self._began:
            return
        _LOCKS.pop(self.ckpt_dir, ExitStack()).close()  # of a training of this process that failed
        _LOCKS.setdefault(self.ckpt_dir, ExitStack()).enter_context(folder_lock(self.ckpt_dir, "ckpt_dir"))
        self._began = True
        remove_partial_files(self.ckpt_dir)
        found = [path for name in (_MODEL, _LAST, _SUMMARY) if (path := self.ckpt_dir / name).is_file()]
        # A summary alone is of a training that was killed before it had saved anything.
        if found not in ([], [self.ckpt_dir / _SUMMARY]) and not self.resume:
            logger.info("%s has files of an earlier training, from now on earlier_*", self.ckpt_dir)
            for path in found:
                os.replace(path, path.with_name(f"earlier_{path.name}"))
        self._write_summary("running")

    def _save_best(self, evaluator: Engine) -> None:
        if not self._state:
            return
        state, metric = self._state["trainer"].state, self.evaluator.state.key_metric_name
        self._validated, score = state.iteration, float(self.evaluator.state.metrics[metric])
        if not math.isfinite(score):
            logger.warning("%s is %s: these weights are not kept", metric, score)
            return
        if not self.best or score > self.best["score"]:
            self.best = {"epoch": state.epoch, "metric": metric, "score": score}
            self._write(self._state["model"].state_dict(), _MODEL)
        self._write_summary("running")

    def _save_last(self, engine: Engine) -> None:
        Checkpoint(self._state, self._write, filename_pattern=_LAST)(engine)

    def _complete(self, engine: Any) -> None:
        self._begin(engine)  # where all epochs were done before
        if self._validated != engine.state.iteration:
            training = engine.network.training
            self.evaluator.run(engine.state.epoch)
            engine.network.train(training)
        self._save_last(engine)
        self._write_summary("complete" if self.best else "failed")
        _LOCKS.pop(self.ckpt_dir, ExitStack()).close()
        if not self.best:
            raise RuntimeError(
                f"no weights were kept: {self.evaluator.state.key_metric_name} was not finite in any validation. "
                f"{self.ckpt_dir / _LAST} has the last weights."
            )
        logger.info(
            "best weights: %s (epoch %d, %s %.4f); to resume: %s",
            *(self.ckpt_dir / _MODEL, *self.best.values(), self.ckpt_dir / _LAST),
        )

    def _interrupted(self, engine: Engine) -> None:
        """Fired by :func:`monai_vafa.hardening.run_training` while it handles what ended the training."""
        if self._began:
            with suppress(OSError), _LOCKS.pop(self.ckpt_dir, ExitStack()):  # a full disk is told already
                self._write_summary("interrupted" if isinstance(sys.exc_info()[1], KeyboardInterrupt) else "failed")

    @idist.one_rank_only()
    def _write(self, content: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None) -> None:
        """Write a checkpoint; Ignite's :class:`Checkpoint` gives ``metadata`` too."""
        write_torch(self.ckpt_dir / filename, content)

    @idist.one_rank_only()
    def _write_summary(self, status: str) -> None:
        state = self._state["trainer"].state
        best = {**self.best, "model_sha256": file_sha256(self.ckpt_dir / _MODEL)} if self.best else None
        progress = {"status": status, "epoch": state.epoch, "max_epochs": state.max_epochs}
        write_json(self.ckpt_dir / _SUMMARY, {**progress, "start": self.start, "best": best})


def _weights_sha256(network: torch.nn.Module) -> str:
    """Hash of names and values of a state dict."""
    sha256 = hashlib.sha256()
    for name, value in network.state_dict().items():
        sha256.update(name.encode())
        if isinstance(value, torch.Tensor):
            sha256.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha256.hexdigest()
