# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_vafa.attacks import MomentumIterative


class Bowl(torch.nn.Module):
    """A loss whose gradient is known: ``-2 (x - centre) * weight``, through two channels that sum to it."""

    def __init__(self, centre, weight):
        super().__init__()
        self.centre = centre
        self.weight = weight

    def forward(self, x):
        y = -self.weight * (x - self.centre) ** 2
        return torch.cat([y, -y], 1)


def loss(logits, label):
    return logits[:, 0].sum()


def by_hand(x, centre, weight, decay, steps, step_size):
    momentum = np.zeros_like(x)
    for _ in range(steps):
        gradient = -2 * weight * (x - centre)
        momentum = decay * momentum + gradient / np.abs(gradient).sum()
        x = x + step_size * np.sign(momentum)
    return x


@pytest.mark.parametrize(
    ("decay", "others", "goes_on"),
    [
        (0.0, 9.0, False),
        (1.0, 9.0, True),
        (1.0, 2.2, False),  # the others are nearly there, so the second gradient, divided by its length, weighs more
    ],
)
def test_two_steps_by_hand(decay, others, goes_on):
    # The first step takes the first voxel beyond its centre: its gradient turns round, and is weaker.
    x = np.array([0.5, 0.5, 0.5, 0.5])
    centre = x + np.array([1.5, -others, others, others]) / 255
    weight = np.array([1.0, 0.5, 2.0, 1.0])
    expected = by_hand(x, centre, weight, decay, steps=2, step_size=2 / 255)
    assert (expected[0] > x[0] + 1e-6) == goes_on

    def volume(values):
        return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, 2, 2)

    attack = MomentumIterative(eps=4, steps=2, decay=decay, loss=loss)  # eps / steps = 2
    adversarial = attack(Bowl(volume(centre), volume(weight)), volume(x), torch.ones(1, 1, 1, 2, 2))
    np.testing.assert_allclose(adversarial.flatten(), expected, atol=1e-6)


def test_step_size_is_a_share_of_eps_unless_told():
    assert MomentumIterative(eps=8, steps=16).step_size == 0.5
    assert MomentumIterative(eps=8, steps=16, step_size=3).step_size == 3


def test_without_any_gradient_nothing_moves(image):
    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.cat([0 * x + 1, 0 * x], 1)

    assert torch.equal(MomentumIterative()(Constant(), image, torch.zeros_like(image)), image)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match="decay=-1"):
        MomentumIterative(decay=-1)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        MomentumIterative(recipe="upstream")
