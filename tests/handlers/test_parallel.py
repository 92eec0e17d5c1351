# SPDX-License-Identifier: Apache-2.0
"""Two processes with one volume each against one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .parallel_training import CASES, train, volume_of


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    script = Path(__file__).with_name("parallel_training.py")
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_every_process_attacks_its_own_batch(ranks, case):
    for rank, seen in enumerate(ranks):
        # the first iteration of a process that is alone with the volume
        alone = train(case, *volume_of(rank), processes=2)[0]
        torch.testing.assert_close(seen[case][0]["losses"], alone["losses"])
        torch.testing.assert_close(seen[case][0]["image"], alone["image"])
        # between the two passes nothing comes from the other process
        torch.testing.assert_close(seen[case][0]["buffers"], alone["buffers"])
        if case == "attack_every_batch":
            assert not torch.equal(alone["image"], volume_of(rank)[0])
        else:
            assert all("loss_adversarial" in iteration["losses"] for iteration in seen[case])


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_mean_over_processes(ranks, case):
    one, other = (train(case, *volume_of(rank), processes=2)[0]["gradients"] for rank in range(2))
    mean = {name: (one[name] + other[name]) / 2 for name in one}
    for seen in ranks:
        torch.testing.assert_close(seen[case][0]["gradients"], mean)
    for first, second in zip(*(seen[case] for seen in ranks), strict=True):
        assert all(torch.equal(first["gradients"][name], second["gradients"][name]) for name in mean)


def test_two_processes_are_one_with_the_joined_batch(ranks):
    """Where the mathematics allows: no batch norm, and losses that are means, or sums, over volumes."""
    case = "mean_over_volumes"
    joined = train(case, *(torch.cat(pair) for pair in zip(volume_of(0), volume_of(1), strict=True)))
    for iteration, expected in enumerate(joined):
        one, other = (seen[case][iteration] for seen in ranks)
        torch.testing.assert_close(one["gradients"], expected["gradients"], rtol=1e-4, atol=1e-6)
        for name, loss in expected["losses"].items():
            both = one["losses"][name] + other["losses"][name]
            torch.testing.assert_close(both if name == "loss_frequency" else both / 2, loss)
