# SPDX-License-Identifier: Apache-2.0
"""Random numbers of an epoch that do not depend on the epochs before it."""

from __future__ import annotations

from typing import cast

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.utils import manual_seed
from monai.data.utils import set_rnd
from torch.utils.data import DataLoader

from monai_vafa.attacks.checks import check_integer


class EpochSeedHandler:
    """
    Seed everything random at the start of each epoch, so that a resumed training continues like an uninterrupted one.

    The order of the data, random transforms, dropout and the seeds of workers, which no checkpoint covers, depend on
    the seed, the epoch and the rank alone. Each epoch starts at the beginning of the data loader, with new workers,
    also where they are persistent: old ones would go on with the random numbers of earlier epochs.

    Args:
        seed: seed of the training, an integer of 0 or more; anything else is a TypeError or ValueError.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = check_integer("seed", seed)
        if self.seed < 0:
            raise ValueError(f"seed={seed} must be an integer, 0 or more.")

    def attach(self, engine: Engine) -> None:
        """Seed every epoch of an engine from now on; its data loader must allow several passes."""
        if not engine.has_event_handler(self, Events.EPOCH_STARTED):
            engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the epoch of an engine at ``EPOCH_STARTED``."""
        entropy = (self.seed, engine.state.epoch, idist.get_rank())
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        manual_seed(seed)
        # Without workers, random transforms live in this process and have generators of their own.
        loader = cast(DataLoader, engine.state.dataloader)
        set_rnd(getattr(loader, "dataset", None), seed=seed)
        for owner in (loader, getattr(loader, "sampler", None)):
            if isinstance(generator := getattr(owner, "generator", None), torch.Generator):
                generator.manual_seed(seed)
        if getattr(loader, "persistent_workers", False):
            loader._iterator = None
        engine.set_data(loader)
