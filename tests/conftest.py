# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # as below, for the processes that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Of ``-n auto``: a process per core, as long as memory lasts."""
    return min(os.cpu_count() or 1, 8)


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors gain nothing from threads, and two test processes would fight for the cores."""
    torch.set_num_threads(1)


@pytest.fixture
def network() -> torch.nn.Module:
    """A small, smooth segmentation network with 3 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.Softplus(), torch.nn.Conv3d(4, 3, 3, padding=1)
        )


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1


@pytest.fixture
def label() -> torch.Tensor:
    return torch.randint(0, 3, (1, 1, 16, 16, 16), generator=torch.Generator().manual_seed(2))
