# SPDX-License-Identifier: Apache-2.0
"""A network that answers at random, or optimises before it answers, is noticed."""

from __future__ import annotations

import pytest
import torch

from monai_vafa.evaluation import evaluate


class Wrapped(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network


class Noisy(Wrapped):
    def forward(self, image):
        return self.network(image + 0.1 * torch.randn_like(image))


class Purifies(Wrapped):
    """Makes the image one of which the network is more certain, before it answers."""

    def forward(self, image):
        with torch.enable_grad():
            moved = image.detach().clone().requires_grad_()
            self.network(moved).logsumexp(1).sum().backward()
        return self.network(image + 0.01 * moved.grad.sign())


class PurifiesByFunc(Wrapped):
    def forward(self, image):
        gradient = torch.func.grad(lambda moved: self.network(moved).logsumexp(1).sum())(image)
        return self.network(image + 0.01 * gradient.sign())


class Counts(Wrapped):
    """Another answer each time, without a random number."""

    calls = 0

    def forward(self, image):
        self.calls += 1
        return self.network(image) * (1 + self.calls / 10)


class Broken(Wrapped):
    def forward(self, image):
        raise RuntimeError("no such kernel")


class NotANumber(Wrapped):
    """Logits with NaN and infinite values, the same each time."""

    def forward(self, image):
        logits = self.network(image).clone()
        logits[:, 1, 0] = -torch.inf
        logits[:, 2, 1] = torch.nan
        return logits


def found(target, network, datalist, metrics, attacks=("gn",)):
    results = list(evaluate(target(network=network), list(attacks), datalist[:1], **metrics))
    assert not {"unstable_logits", "inner_gradients"} & set(results[1].lost)
    return results[0].lost


@pytest.mark.parametrize("wrap", [lambda network: network, NotANumber])
def test_a_plain_network_is_stable_and_takes_no_gradients(wrap, network, target, datalist, metrics):
    network = wrap(network)
    assert found(target, network, datalist, metrics) == {"unstable_logits": 0, "inner_gradients": 0}
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("wrap", [Noisy, Counts])
def test_another_answer_each_time(wrap, network, target, datalist, metrics):
    lost = found(target, wrap(network), datalist, metrics)
    assert lost["unstable_logits"] > 0.5
    assert lost["inner_gradients"] == 0


@pytest.mark.parametrize("wrap", [Purifies, PurifiesByFunc])
def test_an_optimisation_before_the_answer(wrap, network, target, datalist, metrics):
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert found(target, wrap(network), datalist, metrics) == {"unstable_logits": 0, "inner_gradients": 1}


def test_other_errors_of_the_network_are_its_own(network, target, datalist, metrics):
    with pytest.raises(RuntimeError, match="no such kernel"):
        found(target, Broken(network), datalist, metrics)
