# SPDX-License-Identifier: Apache-2.0
"""What every attack promises; where the template keeps the promise for all, shown with VAFA."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_vafa.attacks import (
    RescaleOnly,
    SquareAttack,
    VolumetricFrequencyAttack,
)

from .probes import BY_GRADIENT


def make_attack(**kwargs):
    return VolumetricFrequencyAttack(**{"steps": 3, "block_size": 8, **kwargs})


ATTACKS = {**BY_GRADIENT, "square": partial(SquareAttack, steps=20)}
# Share of the voxels that must be the same, by whether one voxel on the fence changes the gradient of its surroundings.
SAME = {False: 0.999, True: 0.99}


@pytest.fixture(params=ATTACKS)
def name(request):
    return request.param


@pytest.fixture
def make(name):
    return ATTACKS[name]


def test_same_input_same_bytes(make, network, image, label):
    attack = make()
    assert torch.equal(attack(network, image, label), attack(network, image, label))
    assert not torch.equal(attack(network, image, label), image)


def test_loss_rises_and_trace_says_so(network, image, label):
    result = make_attack(steps=6, rescale_slices=False).run(network, image, label)
    assert result.losses.shape == (6, 1)
    assert result.losses[-1] > result.losses[0]
    assert result.steps.tolist() == [6]


class Trace(nn.Module):
    """Has everything that an attack could leave a trace in."""

    def __init__(self, fail=False):
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(1, 3, 1), nn.BatchNorm3d(3), nn.Dropout(0.5))
        self.fixed = nn.Parameter(torch.ones(1), requires_grad=False)
        self.fail = fail

    def forward(self, x):
        if self.fail:
            raise RuntimeError("no")
        return self.body(x) * self.fixed


@pytest.mark.parametrize("fail", [False, True])
def test_network_is_left_as_it_was_also_after_an_error(make, image, label, fail):
    network = Trace(fail)
    network.train()
    network.body[1].eval()
    network.body[0].weight.grad = torch.ones_like(network.body[0].weight)
    before = copy.deepcopy(network)
    if fail:
        with pytest.raises(RuntimeError, match="no"):
            make()(network, image, label)
    else:
        make()(network, image, label)
    assert [m.training for m in network.modules()] == [m.training for m in before.modules()]
    assert [p.requires_grad for p in network.parameters()] == [p.requires_grad for p in before.parameters()]
    assert torch.equal(network.body[0].weight.grad, torch.ones_like(network.body[0].weight))
    assert network.body[0].bias.grad is None
    for key, value in network.state_dict().items():
        assert torch.equal(value, before.state_dict()[key]), key


def test_network_is_in_eval_mode_with_constant_weights_meanwhile(make, image, label):
    seen = []

    class Spy(Trace):
        def forward(self, x):
            seen.append((self.body[2].training, any(p.requires_grad for p in self.parameters())))
            return super().forward(x)

    make()(Spy().train(), image, label)
    assert set(seen) == {(False, False)}


def test_global_random_state_is_left_alone_and_random_networks_are_seeded(make, image, label):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv3d(1, 3, 3, padding=1)

        def forward(self, x):
            return self.body(x + 0.1 * torch.randn_like(x))

    network = Noisy()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = make(seed=1)(network, image, label)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(make(seed=1)(network, image, label), first)
    assert not torch.equal(make(seed=2)(network, image, label), first)


def test_works_under_no_grad_and_autocast(make, network, image, label):
    expected = make()(network, image, label)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(make()(network, image, label), expected)


def test_each_volume_of_a_batch_is_attacked_as_if_alone(name, make, network, image, label):
    images = torch.cat([image, image.flip(2) * 0.5, image.square()])
    labels = torch.cat([label, label.flip(2), 2 - label])
    attack = make()
    together = attack.run(network, images, labels)
    assert together.steps.shape == (3,)
    for i in range(3):
        alone = attack.run(network, images[i : i + 1], labels[i : i + 1])
        # Convolutions may round differently in a batch, which a sign can magnify where a gradient is next to 0.
        if together.tables is not None:
            assert (together.tables[i] == alone.tables[0]).float().mean() > 0.999
        assert ((together.adversarial[i] - alone.adversarial[0]).abs() < 1e-3).float().mean() > SAME[name == "auto_pgd"]
        assert torch.allclose(together.losses[:, i], alone.losses[:, 0], atol=1e-2 if name == "auto_pgd" else 1e-3)
        assert together.steps[i] == alone.steps[0]


def test_a_loss_over_the_whole_batch_couples_no_volumes(network, image, label):
    def batch_loss(logits, target):
        return torch.nn.functional.cross_entropy(logits, target[:, 0]) ** 2

    pair = torch.cat([image, image * 0.3]), torch.cat([label, label])
    together = make_attack(loss=batch_loss).run(network, *pair)
    alone = make_attack(loss=batch_loss).run(network, image, label)
    assert torch.allclose(together.losses[:, 0], alone.losses[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    "wrap", [lambda y: [y, y[..., ::2]], lambda y: (y,), lambda y: {"pred": y}, lambda y: {"a": y}]
)
def test_networks_with_lists_and_dicts(make, network, image, label, wrap):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return wrap(self.network(x))

    assert torch.equal(make()(Wrapped(), image, label), make()(network, image, label))


def test_dict_that_does_not_say_which_are_the_logits(network, image, label):
    class Wrapped(nn.Module):
        def forward(self, x):
            return {"a": x, "b": x}

    with pytest.raises(TypeError, match="'a', 'b'"):
        make_attack()(Wrapped(), image, label)


def test_without_label_the_networks_own_prediction_stands_in(make, network, image):
    prediction = network(image).argmax(1, keepdim=True)
    assert torch.equal(make()(network, image), make()(network, image, prediction))


def test_stops_when_every_voxel_is_wrong(network, image):
    class Fooled(nn.Module):
        def forward(self, x):
            return torch.cat([x * 0 - 1, x * 0 + 1], 1)

    result = make_attack(steps=5).run(Fooled(), image, torch.zeros_like(image))
    assert result.steps.tolist() == [1]


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_amp_attacks_too(network, image, label, amp):
    result = make_attack(amp=amp, steps=5, rescale_slices=False).run(network, image, label)
    assert result.adversarial.dtype == torch.float32
    assert (result.tables < 20).float().mean() > 0.2
    assert result.losses[-1] > result.losses[0]


def test_intensity_range_is_the_attacks_own_business(name, make, network, image, label):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network((x + 175) / 425)

    in_unit = make()(network, image, label)
    in_hu = make(intensity_range=(-175, 250))(Shifted(), image * 425 - 175, label)
    # A gradient next to 0 may change its sign.
    assert (((in_hu + 175) / 425 - in_unit).abs() < 1e-4).float().mean() > SAME[name == "auto_pgd"]


def test_without_intensity_range_each_volume_has_its_own(network, image, label):
    low, high = image.min(), image.max()
    adversarial = make_attack(intensity_range=None)(network, image * 7, label)
    assert adversarial.min() >= 7 * low - 1e-4
    assert adversarial.max() <= 7 * high + 1e-4


def test_meta_tensors_stay_meta_tensors(make, network, image, label):
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))
    adversarial = make()(network, MetaTensor(image, affine=affine), MetaTensor(label))
    assert isinstance(adversarial, MetaTensor)
    assert torch.equal(adversarial.affine, affine.double())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[0], y), r"\(B, C, H, W, D\)"),
        (lambda x, y: (x * 2, y), "intensity_range"),
        (lambda x, y: (x.index_fill(2, torch.tensor(3), torch.nan), y), "256 NaN"),
        (lambda x, y: (x.index_fill(2, torch.tensor(3), torch.inf), y), "256 NaN or infinite"),
        (lambda x, y: (x, y[..., :8]), "label of shape"),
        (lambda x, y: (x, y + 1), "class 3"),
        (lambda x, y: (x, y - 1), "holds -1"),
        (lambda x, y: (x, y + 0.5), "integers"),
        (lambda x, y: (x, y.expand(-1, 2, -1, -1, -1)), "label has 2 channels"),
        (lambda x, y: (x[..., :4], y[..., :4]), "block_size=.8, 8, 8. is larger"),
    ],
)
def test_bad_input_is_named(network, image, label, change, message):
    with pytest.raises(ValueError, match=message):
        make_attack()(network, *change(image, label))


@pytest.mark.parametrize("wrong", [{"intensity_range": (1, 0)}, {"amp": "int8"}, {"steps": 0}])
def test_bad_parameters_of_any_attack_are_named(name, make, wrong):
    if name == "fgsm" and "steps" in wrong:
        pytest.skip("always takes one step")
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)


def test_texts_are_no_truth_values_for_any_attack(name, make):
    if name in ("seg_pgd", "tsallis_pgd"):
        pytest.skip("has no targeted form")
    with pytest.raises(TypeError, match="targeted='false' must be True or False"):
        make(targeted="false")


def test_network_without_gradient_to_its_input_is_named(network, image, label):
    class Detached(nn.Module):
        def forward(self, x):
            return network(x.detach()).detach()

    with pytest.raises(ValueError, match="passes no gradient"):
        make_attack()(Detached(), image, label)


def test_network_of_another_resolution_is_named(image, label):
    with pytest.raises(ValueError, match="logits of shape"):
        make_attack()(nn.Conv3d(1, 3, 2, stride=2), image, label)


def test_what_is_no_network_is_named(image, label):
    with pytest.raises(TypeError, match="network"):
        make_attack()(lambda x: x, image, label)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"q_max": 4}, "q_min=5 and q_max=4"),
        ({"q_min": 0}, "q_min=0"),
        ({"q_init": 30}, "q_init=30"),
        ({"step_size": 0}, "step_size=0"),
        ({"recipe": "mine"}, "recipe='mine'"),
        ({"similarity": "lpips"}, "similarity='lpips'"),
    ],
)
def test_bad_parameters_are_named_when_the_attack_is_made(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_attack(**wrong)


def test_texts_are_no_truth_values():
    with pytest.raises(TypeError, match="rescale_slices='false' must be True or False"):
        make_attack(rescale_slices="false")


def test_controls_never_ask_the_network(image, label):
    class Never(nn.Module):
        def forward(self, x):
            raise AssertionError

    adversarial = RescaleOnly()(Never(), image, label)
    assert np.allclose(adversarial.amax((2, 3)), 1)
