# SPDX-License-Identifier: Apache-2.0
"""The progress of a whole training."""

from __future__ import annotations

import ignite.distributed as idist
from ignite.engine import Engine, Events
from tqdm.auto import tqdm


class TrainingProgress:
    """
    One progress bar over all iterations of a training, with the time left, on the first rank.

    Ignite's ``ProgressBar`` starts anew in each epoch; this one knows where a training ends and a resumed one starts.

    Args:
        desc: text before the bar.
    """

    def __init__(self, desc: str = "training") -> None:
        self.desc = desc
        self._bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        """Show the progress of a trainer from now on."""
        if engine.has_event_handler(self._open):
            return
        # A bar that an error left; not at EXCEPTION_RAISED, whose handlers decide whether others see the error.
        engine.add_event_handler(Events.STARTED, self._close)
        # Not at STARTED, when a checkpoint may still be loading.
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)
        engine.add_event_handler(Events.COMPLETED | Events.INTERRUPT, self._close)

    def _open(self, engine: Engine) -> None:
        if self._bar is None:
            length, epochs, done = engine.state.epoch_length, engine.state.max_epochs, engine.state.iteration
            total = None if length is None or epochs is None else epochs * length
            self._bar = tqdm(desc=self.desc, total=total, initial=done, unit="iteration", disable=idist.get_rank() > 0)

    def _update(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.update(engine.state.iteration - self._bar.n)

    def _close(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
