# SPDX-License-Identifier: Apache-2.0
"""SSA against its formula, with the cosine transform of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from monai_vafa.attacks import MomentumIterative, SpectrumSimulationAttack
from monai_vafa.attacks.draws import Draws

from .probes import Spy, cross_entropy


def by_hand(network, image, label, *, eps, steps, copies, rho, sigma, decay, seed):
    """The paper's algorithm for one volume, its random numbers in the order noise, mask, noise, ..."""
    draws, axes = Draws(seed, image), tuple(range(2, image.ndim))
    x, momentum = image.clone(), torch.zeros_like(image)
    for _ in range(steps):
        gradient = torch.zeros_like(image)
        for _ in range(copies):
            noise, uniform = sigma / 255 * draws.of(torch.randn), draws.of(torch.rand)
            spectrum = dctn((x + noise).double().numpy(), axes=axes, norm="ortho")
            mask = (uniform * 2 * rho + 1 - rho).double().numpy()
            copy = torch.tensor(idctn(spectrum * mask, axes=axes, norm="ortho")).float().requires_grad_()
            gradient += torch.autograd.grad(cross_entropy(network(copy), label), copy)[0] / copies
        momentum = decay * momentum + gradient / gradient.abs().mean()
        x = x + eps / 255 / steps * momentum.sign()
        x = x.clamp(image - eps / 255, image + eps / 255).clamp(0, 1)
    return x


@pytest.mark.parametrize("decay", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(8, 7, 6), (9, 8)])
def test_formula(decay, shape):
    convolution = torch.nn.Conv3d if len(shape) == 3 else torch.nn.Conv2d
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(convolution(1, 6, 3, padding=1), torch.nn.Tanh(), convolution(6, 3, 3, padding=1))
        network[0].weight.data *= 4  # so that it is far from linear
        image = torch.rand(1, 1, *shape)
        label = torch.randint(3, (1, 1, *shape))
    given = {"eps": 8, "steps": 3, "copies": 4, "rho": 0.5, "sigma": 16, "decay": decay, "seed": 5}
    attack = SpectrumSimulationAttack(**given, loss=cross_entropy)
    adversarial, expected = attack(network, image, label), by_hand(network, image, label, **given)
    # Of a gradient next to 0 the sign may differ.
    assert ((adversarial - expected).abs() < 1e-5).float().mean() > 0.99
    plain = MomentumIterative(eps=8, steps=3, decay=decay, loss=cross_entropy)(network, image, label)
    assert ((adversarial - plain).abs() > 1e-3).float().mean() > 0.02


def test_hyperparameters_are_those_of_the_paper():
    attack = SpectrumSimulationAttack(eps=16)
    assert (attack.steps, attack.copies, attack.rho, attack.sigma, attack.decay) == (10, 20, 0.5, 16, 0)
    assert attack.step_size == pytest.approx(1.6)


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_without_change_of_the_spectrum_it_is_momentum(network, image, label, decay):
    given = {"eps": 4, "steps": 4, "decay": decay}
    still = SpectrumSimulationAttack(**given, rho=0, sigma=0, copies=1)(network, image, label)
    plain = MomentumIterative(**given)(network, image, label)
    assert ((still - plain).abs() < 1e-5).float().mean() > 0.99


def test_copies_have_the_noise_and_the_factors_asked_for(network, image, label):
    spy = Spy(network)
    SpectrumSimulationAttack(steps=1, copies=5, rho=0.3, sigma=0)(spy, image, label)
    axes = (2, 3, 4)
    factors = [dctn(x.numpy(), axes=axes) / dctn(image.numpy(), axes=axes) for x in spy.seen[1:]]
    assert len(factors) == 5
    for f in factors:
        assert f.min() > 0.699 and f.max() < 1.301
        assert f.std() == pytest.approx(0.3 / 3**0.5, rel=0.05)
    assert abs(np.corrcoef(factors[0].ravel(), factors[1].ravel())[0, 1]) < 0.1
    spy.seen.clear()
    SpectrumSimulationAttack(steps=1, copies=1, rho=0, sigma=8)(spy, image, label)
    assert float((spy.seen[1] - image).std()) * 255 == pytest.approx(8, rel=0.05)


def test_the_image_itself_says_when_a_volume_is_done(image):
    class Bright(torch.nn.Module):
        """Wrong wherever an image is brighter than 1/2."""

        def forward(self, x):
            return torch.cat([0.5 - x, x - 0.5], 1)

    images = torch.cat([torch.full_like(image, 0.49), torch.full_like(image, 0.9), torch.full_like(image, 0.1)])
    result = SpectrumSimulationAttack(eps=10, steps=5, copies=2).run(Bright(), images, torch.zeros_like(images))
    assert result.steps.tolist() == [3, 1, 5]
    change = (result.adversarial - images).amax((1, 2, 3, 4)) * 255
    assert change.tolist() == pytest.approx([4, 0, 10], abs=1e-3)


def test_same_seed_same_answer(network, image, label):
    once, again, other = (SpectrumSimulationAttack(steps=2, copies=2, seed=s)(network, image, label) for s in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"copies": 0}, "copies=0"), ({"rho": 1.5}, "rho=1.5"), ({"rho": -0.1}, "rho=-0.1"), ({"sigma": -1}, "sigma=-1")],
)
def test_bad_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        SpectrumSimulationAttack(**wrong)
