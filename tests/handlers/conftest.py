# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.engines import IterationEvents, SupervisedTrainer
from monai.losses import DiceCELoss
from monai.utils import CommonKeys

from monai_vafa.attacks import VolumetricFrequencyAttack


@pytest.fixture
def attack():
    return VolumetricFrequencyAttack(steps=2, block_size=8)


@pytest.fixture
def loss_function():
    return DiceCELoss(to_onehot_y=True, softmax=True)


@pytest.fixture
def batches():
    """Three batches of two volumes each."""
    draw = torch.Generator().manual_seed(3)
    return [
        {
            "image": torch.rand(2, 1, 8, 8, 8, generator=draw) * 0.8 + 0.1,
            "label": torch.randint(0, 3, (2, 1, 8, 8, 8), generator=draw),
        }
        for _ in range(3)
    ]


@pytest.fixture
def train(loss_function):
    """Train a network with a handler; returns gradients and losses of every iteration."""

    def run(network, batches, *handlers, max_epochs=1, lr=0.1, **kwargs):
        trainer = SupervisedTrainer(
            **{
                "device": torch.device("cpu"),
                "max_epochs": max_epochs,
                "train_data_loader": batches,
                "network": network,
                "optimizer": torch.optim.SGD(network.parameters(), lr=lr),
                "loss_function": loss_function,
                "train_handlers": handlers,
                **kwargs,
            }
        )
        seen = []

        @trainer.on(IterationEvents.BACKWARD_COMPLETED)
        def _(engine):
            losses = {k: v.detach().clone() for k, v in engine.state.output.items() if k.startswith(CommonKeys.LOSS)}
            # what is logged keeps no graph alive
            assert not any(v.requires_grad for k, v in engine.state.output.items() if k.startswith("loss_"))
            seen.append((losses, gradients(network)))

        trainer.run()
        return seen

    return run


def gradients(network):
    return [None if p.grad is None else p.grad.clone() for p in network.parameters()]


@pytest.fixture
def same_gradients():
    def check(network, expected, rtol=1e-5, atol=1e-6):
        own = network if isinstance(network, list) else gradients(network)
        expected = expected if isinstance(expected, list) else gradients(expected)
        assert len(own) == len(expected) > 0
        for one, other in zip(own, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=rtol, atol=atol)

    return check
