# SPDX-License-Identifier: Apache-2.0
"""Networks whose classes overlap: several channels in, unbounded intensities, three sigmoid channels out."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss
from torch import nn
from torch.nn import BCEWithLogitsLoss

from monai_vafa.attacks import (
    AutoPGD,
    BandDrop,
    BasicIterative,
    CoefficientAttack,
    CosPGD,
    DiverseInputsIterative,
    FastGradientSign,
    GaussianNoise,
    MomentumIterative,
    PerceptualFrequencyAttack,
    ProjectedAdam,
    ProjectedGradientDescent,
    QuantizeOnly,
    RescaleOnly,
    SegPGD,
    SliceFrequencyAttack,
    SlidingWindowAttack,
    SpectrumSimulationAttack,
    SquareAttack,
    TsallisPGD,
    VolumetricFrequencyAttack,
)
from monai_vafa.attacks.draws import volume_keys
from monai_vafa.losses import CosineLoss, JensenShannonLoss

VAFA = partial(VolumetricFrequencyAttack, steps=4, block_size=8, rescale_slices=False)
ATTACKS = {
    "vafa": VAFA,
    "vafa_algorithm1": partial(VAFA, recipe="algorithm1", q_init=20.0),
    "vafa_2d": partial(SliceFrequencyAttack, steps=4, block_size=8, rescale_slices=False),
    "fgsm": FastGradientSign,
    "bim": partial(BasicIterative, steps=4),
    "pgd": partial(ProjectedGradientDescent, steps=4),
    "mi_fgsm": partial(MomentumIterative, steps=4),
    "di_mi_fgsm": partial(DiverseInputsIterative, steps=4),
    "ssa": partial(SpectrumSimulationAttack, steps=4, copies=3),
    "seg_pgd": partial(SegPGD, steps=4),
    "cos_pgd": partial(CosPGD, steps=4),
    "tsallis_pgd": partial(TsallisPGD, steps=4),
    "padam_ce": partial(ProjectedAdam, steps=4),
    "padam_cos": partial(ProjectedAdam, steps=4, loss=CosineLoss(activation="sigmoid")),
    "apgd_ce": partial(AutoPGD, steps=6),
    "apgd_jsd": partial(AutoPGD, steps=6, loss=JensenShannonLoss(activation="sigmoid")),
    "square": partial(SquareAttack, steps=20, eps=16.0),
    "coefficient": partial(CoefficientAttack, steps=4),
    "pfa": partial(PerceptualFrequencyAttack, steps=4),
}
CONTROLS = {
    "quantize_only": partial(QuantizeOnly, block_size=8),
    "rescale_only": RescaleOnly,
    "band_drop": partial(BandDrop, block_size=8),
    "gn": GaussianNoise,
}
OWN_RANGE = {"intensity_range": None}


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv3d(4, 6, 3, padding=1), nn.Softplus(), nn.Conv3d(6, 3, 3, padding=1, bias=False))


@pytest.fixture
def image():
    """Four z-scored sequences of different spread."""
    draw = torch.Generator().manual_seed(1)
    spread = torch.tensor([1.0, 0.8, 1.2, 0.5]).reshape(1, 4, 1, 1, 1)
    return torch.randn(1, 4, 16, 8, 24, generator=draw) * spread


@pytest.fixture
def label(network, image):
    """The network's own view with some voxels wrong; its classes overlap."""
    with torch.no_grad():
        label = (network(image) > 0).long()
    assert (label.sum(1) > 1).any() and (label.sum(1) == 0).any()
    return torch.where(torch.rand(label.shape, generator=torch.Generator().manual_seed(3)) < 0.1, 1 - label, label)


def agreement(network, image, label):
    with torch.no_grad():
        return float(((network(image) > 0) == label).float().mean())


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_breaks_more_than_it_found_broken(name, network, image, label):
    attack = ATTACKS[name](activation="sigmoid", **OWN_RANGE)
    adversarial = attack(network, image, label)
    assert agreement(network, adversarial, label) < agreement(network, image, label)
    # within the range of the volume, whatever it is, and in every channel
    assert adversarial.min() >= image.min() - 1e-4 and adversarial.max() <= image.max() + 1e-4
    assert ((adversarial - image).abs().amax((0, 2, 3, 4)) > 0).all()


@pytest.mark.parametrize("name", [*ATTACKS, *CONTROLS])
def test_windows_that_are_no_cubes(name, network, image, label):
    """Windows of a volume share its range; the last ones are flush with its border."""
    make = {**ATTACKS, **CONTROLS}[name]
    attack = make(activation="sigmoid", **OWN_RANGE)
    adversarial = SlidingWindowAttack((16, 8, 16))(attack, network, image, label)
    own = (float(image.min()), float(image.max()))
    alone, (key,) = make(activation="sigmoid", intensity_range=own), volume_keys(image)
    first, last = (
        alone.run(network, image[..., w], label[..., w], keys=[(*key, 0, 0, w.start)]).adversarial
        for w in (slice(0, 16), slice(8, 24))
    )
    assert torch.equal(adversarial[..., :8], first[..., :8])
    assert torch.equal(adversarial[..., 8:], last)


@pytest.mark.parametrize("name", ATTACKS)
def test_without_label_the_networks_own_classes_stand_in(name, network, image):
    attack = ATTACKS[name](activation="sigmoid", **OWN_RANGE)
    with torch.no_grad():
        own = (network(image) > 0).long()
    assert torch.equal(attack(network, image), attack(network, image, own))


@pytest.mark.parametrize("name", ["cos_pgd", "pgd", "pfa", "coefficient"])
def test_targeted_attack_comes_closer_to_the_target(name, network, image, label):
    target = label.clone()
    target[:, 1] = 0
    adversarial = ATTACKS[name](activation="sigmoid", targeted=True, **OWN_RANGE)(network, image, target)
    with torch.no_grad():
        after, before = (BCEWithLogitsLoss()(network(x), target.float()) for x in (adversarial, image))
    assert after < before


class Constant(nn.Module):
    """The same three logits for every voxel."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.tensor(logits).reshape(1, 3, 1, 1, 1)

    def forward(self, x):
        return self.logits + 0 * x.sum(1, keepdim=True)


@pytest.mark.parametrize(("right", "steps"), [([], 1), ([1], 5), ([0, 1, 2], 5)])
def test_done_only_when_every_class_of_every_voxel_is_wrong(right, steps, image):
    label = torch.tensor([0, 0, 1]).reshape(1, 3, 1, 1, 1).repeat(1, 1, *image.shape[2:])
    label[:, right, 0, 0, 0] = 1 - label[:, right, 0, 0, 0]
    result = BasicIterative(steps=5, activation="sigmoid", **OWN_RANGE).run(Constant(2.0, 1.0, -1.0), image, label)
    assert result.steps.tolist() == [steps]


def test_cos_pgd_by_hand():
    """A linear network of two voxels and three classes, one step without a random start."""
    rng = np.random.default_rng(5)
    matrix, x = rng.standard_normal((3, 2, 2)) * 2, rng.uniform(0.3, 0.7, 2)
    label = rng.integers(0, 2, (3, 2))

    class Linear(nn.Module):
        def forward(self, image):
            logits = torch.einsum("cnm,bm->bcn", torch.tensor(matrix, dtype=torch.float32), image.flatten(1))
            return logits.reshape(-1, 3, 2, 1, 1)

    p = 1 / (1 + np.exp(-np.einsum("cnm,m->cn", matrix, x)))
    said = np.where(label == 1, p, 1 - p)
    gradient = np.einsum("cn,cn,cnm->m", said / np.hypot(said, 1 - said), p - label, matrix)
    attack = CosPGD(eps=8, step_size=2, steps=1, random_start=False, activation="sigmoid")
    volumes = (torch.tensor(v, dtype=torch.float32).reshape(1, -1, 2, 1, 1) for v in (x, label))
    np.testing.assert_allclose(attack(Linear(), *volumes).flatten(), x + 2 / 255 * np.sign(gradient), atol=1e-6)


def test_loss_of_ones_own(network, image, label):
    attack = BasicIterative(steps=3, activation="sigmoid", loss=DiceLoss(sigmoid=True), **OWN_RANGE)
    result = attack.run(network, image, label)
    assert result.losses[-1] > result.losses[0]


def test_network_with_one_channel_is_one_class(network, image, label):
    one, label = nn.Sequential(network, nn.Conv3d(3, 1, 1, bias=False)), label[:, :1]
    adversarial = BasicIterative(steps=3, activation="sigmoid", **OWN_RANGE)(one, image, label)
    assert agreement(one, adversarial, label) < agreement(one, image, label)
    with pytest.raises(ValueError, match=r"logits have 1 channel.*activation='sigmoid'"):
        BasicIterative(steps=3, **OWN_RANGE)(one, image, label)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda y: y[:, :1], r"label has 1 channel .a class map.., but activation='sigmoid' takes .B, 3, "),
        (lambda y: y[:, :2], "label has 2 channels"),
        (lambda y: y * 2, "label holds 2,"),
    ],
)
def test_label_that_does_not_fit_is_named(name, network, image, label, spoil, message):
    with pytest.raises(ValueError, match=message):
        ATTACKS[name](activation="sigmoid", **OWN_RANGE)(network, image, spoil(label))


@pytest.mark.parametrize("make", [VAFA, FastGradientSign, SegPGD, AutoPGD, PerceptualFrequencyAttack, SquareAttack])
def test_channels_for_a_softmax_are_named_with_the_way_out(make, network, image, label):
    with pytest.raises(ValueError, match=r"label has 3 channels.*activation='sigmoid'"):
        make(**OWN_RANGE)(network, image, label)


@pytest.mark.parametrize("make", [*ATTACKS.values(), *CONTROLS.values()])
def test_unknown_activation_is_named(make):
    with pytest.raises(ValueError, match="activation='tanh'"):
        make(activation="tanh")


def test_activation_is_stated_once_and_flows(network, image, label):
    """From the attack, or from a caller that knows the network, to the losses of the package."""
    stated = AutoPGD(steps=4, loss=JensenShannonLoss(activation="sigmoid"), activation="sigmoid", **OWN_RANGE)
    expected = stated(network, image, label)
    for kwargs, activation in (({"activation": "sigmoid"}, None), ({}, "sigmoid")):
        attack = AutoPGD(steps=4, loss=JensenShannonLoss(), **kwargs, **OWN_RANGE)
        assert torch.equal(attack.run(network, image, label, activation=activation).adversarial, expected)
        assert torch.equal(SlidingWindowAttack(-1)(attack, network, image, label, activation=activation), expected)
        assert attack.loss.activation is None
