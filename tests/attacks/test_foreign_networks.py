# SPDX-License-Identifier: Apache-2.0
"""Networks of all kinds are attacked rightly or refused by name, and left as they were."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from monai_vafa.attacks import BasicIterative, ProjectedGradientDescent, SlidingWindowAttack, SquareAttack

ATTACK = BasicIterative(eps=8, steps=3)


class InPlace(nn.Module):
    """Normalises its input where it lies."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.mul_(2).sub_(0.5))


class OutOfPlace(InPlace):
    def forward(self, x):
        return self.network(x * 2 - 0.5)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("attack", [ATTACK, SquareAttack(steps=4)])
def test_a_network_that_works_in_place_changes_nobodys_image(network, image, label, attack, labelled):
    before, given = image.clone(), label if labelled else None
    adversarial = attack(InPlace(network), image, given)
    assert torch.equal(image, before)
    assert torch.equal(adversarial, attack(OutOfPlace(network), before, given))
    assert (adversarial - before).abs().max() <= 8 / 255 + 1e-6


def test_a_loss_that_works_in_place_changes_neither_label_nor_success(network, image, label):
    def hostile(logits, target):
        loss = F.cross_entropy(logits * 1, target[:, 0].clone())
        target.zero_()
        logits.mul_(0)
        return loss

    before = label.clone()
    result = BasicIterative(steps=3, loss=hostile).run(network, image, label)
    assert torch.equal(label, before)
    plain = BasicIterative(steps=3, loss=nn.CrossEntropyLoss()).run(network, image, label)
    assert torch.equal(result.adversarial, plain.adversarial)


class Merging(nn.Conv3d):
    """Low-rank weights that are merged in eval mode, as LoRA's: train() and eval() move them."""

    def __init__(self, channels):
        super().__init__(channels, 3, 1)
        self.a, self.b = nn.Parameter(torch.full((3, 1), 0.5)), nn.Parameter(torch.ones(1, channels))
        self.merged = False

    def delta(self):
        return (self.a @ self.b)[..., None, None, None]

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.weight.data += self.delta().data * (-1 if mode else 1)
            self.merged = not mode
        return self

    def forward(self, x):
        return F.conv3d(x, self.weight if self.merged else self.weight + self.delta(), self.bias)


def test_modes_are_restored_by_train_and_eval(image, label):
    network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.BatchNorm3d(4), Merging(4)).train()
    network[1].eval()
    before = copy.deepcopy(network.state_dict())
    ATTACK(network, image, label)
    assert [m.training for m in network.modules()] == [True, True, False, True]
    assert not network[2].merged
    for name, value in network.state_dict().items():
        assert torch.allclose(value, before[name], atol=1e-6), name
    network(image).sum().backward()
    assert network[2].a.grad.abs().sum() > 0


class Counting(nn.Module):
    """Updates buffers in every mode; one is replaced by a new tensor."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        self.mean = self.mean * 0.9 + x.detach().mean() * 0.1
        return self.network(x)


def test_buffers_are_restored(network, image, label):
    counting = Counting(network).eval()
    ATTACK(counting, image, label)
    assert (counting.calls.item(), counting.mean.item()) == (0, 0)


class Checkpointed(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return checkpoint(self.network, x, use_reentrant=True)


def frozen(network):
    return torch.jit.freeze(torch.jit.script(network.eval()))


def exported(network):
    return torch.export.export(network.eval(), (torch.rand(1, 1, 16, 16, 16),)).module()


@pytest.mark.parametrize("wrap", [Checkpointed, torch.jit.script, frozen, exported])
def test_networks_in_other_wrappings_get_the_same_attack(network, image, label, wrap):
    adversarial = ATTACK(wrap(copy.deepcopy(network)), image, label)
    expected = ATTACK(network, image, label)
    assert ((adversarial - expected).abs() < 1e-6).float().mean() > 0.999


def test_an_exported_program_is_named_and_its_module_works(network, image, label):
    program = torch.export.export(network.eval(), (image,))
    with pytest.raises(TypeError, match=r"ExportedProgram; .*network\.module\(\)"):
        ATTACK(program, image, label)
    assert not torch.equal(ATTACK(program.module(), image, label), image)


@pytest.mark.parametrize("labelled", [False, True])
def test_callers_under_inference_mode(network, image, label, labelled):
    expected = ATTACK(network, image, label if labelled else None)
    with torch.inference_mode():
        inside = image * 1, label * 1 if labelled else None
        assert torch.equal(ATTACK(network, *inside), expected)
        assert torch.equal(SlidingWindowAttack(16)(ATTACK, network, *inside), expected)


def test_weights_made_under_inference_mode_are_named_and_the_way_out_works(image, label):
    with torch.inference_mode():
        network = nn.Conv3d(1, 3, 1)
    with pytest.raises(ValueError, match=r"torch\.inference_mode\(\).*copy\.deepcopy\(network\)"):
        ATTACK(network, image, label)
    assert not torch.equal(ATTACK(copy.deepcopy(network), image, label), image)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_networks_are_attacked_in_their_own_precision(network, image, label, dtype):
    seen = []

    class Seen(OutOfPlace):
        def forward(self, x):
            seen.append(x.dtype)
            return self.network(x)

    result = BasicIterative(eps=8, steps=5).run(Seen(copy.deepcopy(network).to(dtype)), image, label)
    assert set(seen) == {dtype}
    assert result.adversarial.dtype == torch.float32
    assert result.losses[-1] > result.losses[0]


def test_threads_take_turns():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.Dropout(0.5), nn.Conv3d(8, 3, 3, padding=1)).train()
    image, attack = torch.rand(1, 1, 12, 12, 12), ProjectedGradientDescent(eps=8, steps=4, restarts=1)
    expected, results = attack(network, image), []
    state = torch.get_rng_state()
    threads = [
        threading.Thread(target=lambda: results.extend(attack(network, image) for _ in range(4))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(torch.equal(result, expected) for result in results)
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_results_never_require_grad(network, image, label):
    result = ATTACK.run(network, image.requires_grad_(), label)
    values = [value for value in vars(result).values() if value is not None]
    assert len(values) > 2
    assert not any(value.requires_grad for value in values)
    assert not SlidingWindowAttack(8)(ATTACK, network, image, label).requires_grad
