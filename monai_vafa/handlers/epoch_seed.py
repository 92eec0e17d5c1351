# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Random numbers of an epoch that do not depend on the epochs before it."""

from __future__ import annotations

from typing import cast

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events
from ignite.utils import manual_seed
from monai.data.utils import set_rnd
from torch.utils.data import DataLoader

__all__ = ["EpochSeedHandler"]


class EpochSeedHandler:
    """
    Seed everything that is random at the start of each epoch, so that a resumed training goes on as an unbroken one.

    A checkpoint of network, optimiser, schedule and trainer says nothing of the order of the data, of random
    transforms, dropout or the workers' seeds. With this handler they follow from the seed, the epoch and the rank
    alone: a training that was killed and starts again from the checkpoint of an epoch's end repeats what the unbroken
    one did from there on. The data loader is walked over from its beginning in each epoch.

    Args:
        seed: seed of the training, 0 or more.

    Raises:
        ValueError: When ``seed`` is no whole number, 0 or more.
    """

    def __init__(self, seed: int = 0) -> None:
        if int(seed) != seed or seed < 0:
            raise ValueError(f"seed={seed} must be a whole number, 0 or more.")
        self.seed = int(seed)

    def attach(self, engine: Engine) -> None:
        """
        Seed every epoch of an engine from now on. Attaching it twice is the same as once.

        Args:
            engine: a trainer with a data loader that can be walked over again.
        """
        if not engine.has_event_handler(self, Events.EPOCH_STARTED):
            engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """
        Seed the epoch that begins.

        Args:
            engine: the engine, at ``EPOCH_STARTED``.
        """
        entropy = (self.seed, engine.state.epoch, idist.get_rank())
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        manual_seed(seed)
        # Without workers, random transforms live in this process and keep generators of their own.
        loader = cast(DataLoader, engine.state.dataloader)
        set_rnd(getattr(loader, "dataset", None), seed=seed)
        engine.set_data(loader)
