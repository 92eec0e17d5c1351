# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset
from monai.transforms import RandGaussianNoise

from monai_vafa.handlers import EpochSeedHandler


def numbers_of(epochs, *, resumed_from=0, disturb=0, seed=0, workers=0, epoch_length=None, **options):
    """What an engine sees and draws in each epoch: data order, random transform, dropout and the like."""
    torch.rand(disturb), np.random.rand(disturb)
    noise = RandGaussianNoise(prob=1.0)
    loader = DataLoader(
        Dataset(list(torch.arange(5.0)[:, None]), noise), batch_size=1, shuffle=True, num_workers=workers, **options
    )
    seen = {}

    def step(engine, batch):
        draw = (round(batch.item(), 6), torch.rand(1).item(), np.random.rand(), random.random())
        seen.setdefault(engine.state.epoch, []).append(draw)

    engine = Engine(step)
    EpochSeedHandler(seed).attach(engine)
    length = epoch_length or len(loader)
    engine.load_state_dict({"epoch_length": length, "max_epochs": epochs, "iteration": resumed_from * length})
    engine.run(loader)
    return seen


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_epoch_is_that_of_an_unbroken_run(workers):
    unbroken = numbers_of(3, workers=workers)
    resumed = numbers_of(3, resumed_from=1, disturb=7, workers=workers)
    assert list(resumed) == [2, 3]
    assert all(resumed[epoch] == unbroken[epoch] for epoch in resumed)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_resumed_epoch_with_persistent_workers(workers):
    options = {"workers": workers, "persistent_workers": True}
    unbroken, resumed = numbers_of(4, **options), numbers_of(4, resumed_from=2, disturb=7, **options)
    assert list(resumed) == [3, 4]
    assert all(resumed[epoch] == unbroken[epoch] for epoch in resumed)
    assert sorted(unbroken[3]) != sorted(unbroken[4])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_epoch_of_a_loader_with_a_generator_of_its_own(workers):
    def made(**options):
        return numbers_of(3, workers=workers, generator=torch.Generator().manual_seed(5), **options)

    unbroken, resumed = made(), made(resumed_from=1)
    assert all(resumed[epoch] == unbroken[epoch] for epoch in (2, 3))


def test_epochs_that_end_within_the_data_resume_too():
    unbroken = numbers_of(3, epoch_length=2)
    assert numbers_of(3, resumed_from=2, epoch_length=2)[3] == unbroken[3]


def test_epochs_and_seeds_differ():
    seen = numbers_of(2)
    assert sorted(seen[1]) != sorted(seen[2])
    assert numbers_of(1, seed=1)[1] != seen[1]


@pytest.mark.parametrize("seed", [-1, 0.5])
def test_bad_seed_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed={seed}"):
        EpochSeedHandler(seed)
