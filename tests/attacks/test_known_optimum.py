# SPDX-License-Identifier: Apache-2.0
"""
Attacks against a linear network, where the best change is known.

The logits are a linear filter of the image plus a bias, and the figure that counts is their sum towards the wrong
answers, which is linear in the image: each attack's best gain is the support function of its own ball. Attacks but SA2
keep their own losses. Margins are so small (below 0.2) that cross entropy, Dice and Jensen-Shannon divergence are
nearly linear in them, and no answer turns wrong, so that masks and weights of voxels stay what they are. Nothing is
clipped.
SA2 and VAFA run without their similarity terms, which have another aim than the loss, and VAFA without the stretching
of slices, which is not linear. Tables of VAFA act on one coefficient each, so its optimum is a search along a line.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linprog, nnls

from monai_vafa.attacks import ROSTER, PerceptualFrequencyAttack
from monai_vafa.attacks.spectrum import contrast_mask
from monai_vafa.frequency import block_spectrum, dct, expand_bands, idct, merge_blocks, quantize, split_blocks

ENOUGH = 0.95
SHAPES = [(11, 13, 10), (19, 21)]
BLOCK = 8
LINF = [
    "fgsm",
    "bim",
    "pgd",
    "mifgsm",
    "dimifgsm",
    "ssa",
    "pgd_upstream",
    "segpgd",
    "cospgd",
    "tsallispgd",
    "square",
    "padam_ce",
    "padam_cos",
]
NORMS = ["minimal_linf", "minimal_l2"]  # at the end, with networks of their own
LINF += ["apgd_masked_ce", "apgd_masked_ce_balanced", "apgd_jsd", "apgd_dice"]
FACTORS, TABLES = ["sa2_2d", "sa2"], ["vafa2d", "vafa", "vafa_no_rescale"]


def margin_loss(logits, label):
    """Sum of the margins, up to a factor: under sigmoid, the Dice term of SA2 weights present classes twice as much."""
    margins = logits if label.shape[1] == 2 else logits[:, 1:] - logits[:, :1]
    return -(margins * (2 * label - 1)).mean()


# Parameters other than those of the roster, and why, see above.
SETTINGS = {
    "square": {"steps": 3000},
    "ssa": {"copies": 4},  # to be quick
    **{name: {"loss": margin_loss, "similarity_weight": 0.0, "block_size": BLOCK} for name in FACTORS},
    **{name: {"similarity": None, "rescale_slices": False, "block_size": BLOCK} for name in TABLES},
}
# What can't reach that: Square has no gradient, and with VAFA what a coefficient gains rises and falls with its step of
# quantisation, of which signs follow one slope. Input diversity follows the gradients of other sizes of the image.
FLOOR = {"square": 0.75, "dimifgsm": 0.6, **dict.fromkeys(TABLES, 0.45)}
LEFT_OUT = {name for name, entry in ROSTER.items() if entry.control}  # which never ask the network


class Linear(torch.nn.Module):
    """Logits ``bias + weight * filter(x - 0.5)`` whose answers are those of the label anywhere near the image."""

    def __init__(self, shape, activation):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        channels = 1 if activation == "softmax" else 2
        self.softmax = activation == "softmax"
        kernel = torch.randn(channels, 1, *[3] * len(shape), generator=generator)
        self.kernel = kernel / kernel.flatten(1).abs().sum(1).reshape(-1, *[1] * (kernel.ndim - 1))
        self.weight = 0.05 + 0.1 * torch.rand(1, channels, *shape, generator=generator)
        self.answer = torch.randint(0, 2, (1, channels, *shape), generator=generator)

    def margins(self, x):
        """How far each logit is on the side of its answer."""
        filtered = (F.conv2d if x.ndim == 4 else F.conv3d)(x - 0.5, self.kernel, padding=1)
        return 0.1 + self.weight * filtered

    def forward(self, x):
        logits = self.margins(x) * (2 * self.answer - 1)
        # The cosine of PAdam-Cos has no slope where two logits sum to 0; no other loss feels what both have in common.
        return torch.cat([1 - logits / 2, 1 + logits / 2], 1) if self.softmax else logits


@pytest.fixture(params=["softmax", "sigmoid"])
def activation(request):
    return request.param


@pytest.fixture(params=SHAPES, ids=["3d", "2d"])
def shape(request):
    return request.param


@pytest.fixture(params=[1, 3])
def clean(request, shape):
    noise = torch.rand(request.param, 1, *shape, generator=torch.Generator().manual_seed(3))
    return 0.5 + 0.3 * (noise - 0.5)


@pytest.fixture
def network(shape, activation):
    return Linear(shape, activation)


def direction(network, clean):
    """What each voxel adds to the gain, ``(B, C, *spatial)``."""
    x = clean.clone().requires_grad_()
    return torch.autograd.grad(-network.margins(x).sum(), x)[0]


def coefficients_of(change, sides):
    """Coefficients of a gradient: voxels that pad the last blocks add nothing."""
    missing = [(0, -length % side) for length, side in zip(change.shape[2:], sides, strict=True)]
    padded = F.pad(change, [p for pair in reversed(missing) for p in pair])
    return dct(split_blocks(padded, sides), spatial_dims=len(sides))


def total(values):
    return values.flatten(1).sum(1)


def best_gain(name, attack, clean, slope):
    """The most that an image within reach of the attack gains, ``(B,)``."""
    if name in LINF:
        return attack.eps / 255 * total(slope.abs())
    dims = clean.ndim - 2
    sides = (BLOCK, BLOCK, 1) if attack_in_plane(attack) and dims == 3 else (BLOCK,) * dims
    slopes = coefficients_of(slope, sides) / 255
    if name == "coefficient":
        return attack.eps * total((expand_bands(attack.band_weights, sides) * slopes).abs())
    spectrum = block_spectrum(clean, sides)
    if name in FACTORS:
        gains = attack.rho * (spectrum * slopes).abs()
        gains[(..., *[0] * dims)] = 0  # the mean of a block stays
        return total(gains)
    softness = 0.1 / attack.steps  # that of the last step
    tables = torch.linspace(attack.q_min, attack.q_max, 301)
    return total(torch.stack([slopes * (quantize(spectrum, q, softness) - spectrum) for q in tables.tolist()]).amax(0))


def attack_in_plane(attack):
    return type(attack).in_plane


def steered_gain(attack, clean, slope):
    """
    Gain of the change that PFA steers to, ``(B,)``.

    It is the best one in a ball of its coefficients ``||u||``, the change being ``A u``: ``A A^T slope``, made as large
    as the RMSE allows.
    """
    sides = (BLOCK,) * (clean.ndim - 2)
    mask = contrast_mask(clean, attack.contrast_masking)
    weights = expand_bands(attack.band_weights, sides)
    coefficients = weights.square() * coefficients_of(mask * slope, sides)
    change = mask * merge_blocks(idct(coefficients, spatial_dims=len(sides)), clean.shape[2:])
    size = attack.rmse / 255 / change.flatten(1).square().mean(1).sqrt()
    return size * total(slope * change)


def l2_gain(attack, clean, slope):
    """Most that a change of the RMSE of PFA gains, ``(B,)``: that along the slope."""
    return attack.rmse / 255 * clean[0].numel() ** 0.5 * slope.flatten(1).norm(dim=1)


def gain_of(attack, network, clean, activation, slope):
    label = network.answer.expand(len(clean), *network.answer.shape[1:])
    adversarial = attack.run(network, clean, label, activation=activation).adversarial
    assert adversarial.min() > 0 and adversarial.max() < 1, "clipped"
    assert (network.margins(adversarial) > 0).all(), "an answer turned wrong"
    return total(slope * (adversarial - clean))


def test_every_attack_of_the_roster_is_here():
    covered = {*LINF, *FACTORS, *TABLES, *NORMS, "coefficient", "pfa"}
    assert covered | LEFT_OUT == set(ROSTER)
    assert not covered & LEFT_OUT


@pytest.mark.parametrize("name", [*LINF, "coefficient", *FACTORS, *TABLES])
def test_gain_is_near_the_best(name, network, clean, activation):
    if name in ("vafa", "vafa_no_rescale") and clean.ndim == 4:
        pytest.skip("takes volumes only")
    attack = ROSTER[name].build(**SETTINGS.get(name, {}))
    slope = direction(network, clean)
    share = gain_of(attack, network, clean, activation, slope) / best_gain(name, attack, clean, slope)
    assert (share > FLOOR.get(name, ENOUGH)).all() and (share < 1.001).all(), share


def test_pfa_gains_what_its_weights_allow(network, clean, activation):
    attack = ROSTER["pfa"].build()
    slope = direction(network, clean)
    gain = gain_of(attack, network, clean, activation, slope)
    assert (gain > ENOUGH * steered_gain(attack, clean, slope)).all()
    assert (gain < 1.001 * l2_gain(attack, clean, slope)).all()


def test_pfa_without_weights_is_best_in_its_ball(network, clean, activation):
    attack = PerceptualFrequencyAttack(contrast_masking=0.0, band_weights=None)
    slope = direction(network, clean)
    share = gain_of(attack, network, clean, activation, slope) / l2_gain(attack, clean, slope)
    assert (share > ENOUGH).all() and (share < 1.001).all(), share


class EachVoxel(torch.nn.Module):
    """Logits of each voxel from that voxel alone: the foreground turns wrong voxel by voxel, each at its own change."""

    def __init__(self, clean, activation, scale):
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        shape = (1, 1, *clean.shape[2:])
        self.softmax, self.clean = activation == "softmax", clean
        sign = 2 * torch.randint(0, 2, shape, generator=generator) - 1
        self.weight = sign * (0.5 + torch.rand(shape, generator=generator))
        self.bias = scale * (0.02 + 0.1 * torch.rand(shape, generator=generator))
        self.foreground = torch.rand(shape, generator=generator) < 0.7

    def forward(self, x):
        margins = self.bias + self.weight * (x - self.clean[: len(x)])
        logits = margins * torch.where(self.foreground, 1, -1)
        return torch.cat([-logits / 2, logits / 2], 1) if self.softmax else logits

    def least(self, norm, goal):
        changes = (self.bias / self.weight.abs())[self.foreground].sort().values
        needed = changes[: math.ceil(goal * len(changes) - 1e-6)]
        return needed[-1] if norm == "linf" else (needed.square().sum() / self.weight.numel()).sqrt()


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("goal", [1.0, 0.99, 0.8])
@pytest.mark.parametrize("name", NORMS)
def test_minimal_norm_is_near_the_least(name, goal, scale, clean, activation, request):
    if name == "minimal_l2" and goal < 1:
        request.applymarker(pytest.mark.xfail(reason="which voxels are spared is chosen badly: 1.2 of the least RMSE"))
    attack = ROSTER[name].build(goal=goal)
    network = EachVoxel(clean, activation, scale)
    label = network.foreground.long().expand(len(clean), *network.foreground.shape[1:])
    result = attack.run(network, clean, label, activation=activation)
    change = (result.adversarial - clean).flatten(1)
    norm = change.abs().amax(1) if attack.norm == "linf" else change.square().mean(1).sqrt()
    share = norm / network.least(attack.norm, goal)
    assert not result.goal_missed.any()
    assert (share > 0.999).all() and (share < 1.05).all(), share


@pytest.mark.parametrize(
    "norm", [pytest.param("linf", marks=pytest.mark.xfail(reason="ends a little above 1.05 of the least L-inf")), "l2"]
)
def test_minimal_norm_where_voxels_share_what_they_see(norm):
    """Against quadratic and linear programming."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 1, 5, 6, 7)
    clean = 0.3 + 0.4 * torch.rand(shape, generator=generator)
    kernel = torch.randn(1, 1, 3, 3, 3, generator=generator)
    kernel = 0.5 * kernel / kernel.abs().sum()
    kernel[0, 0, 1, 1, 1] += 0.5
    weight = 0.5 + torch.rand(shape, generator=generator)
    bias = 0.05 * (0.02 + 0.1 * torch.rand(shape, generator=generator))

    class Shared(torch.nn.Module):
        def forward(self, x):
            margins = bias + weight * F.conv3d(x - clean, kernel, padding=1)
            return torch.cat([-margins / 2, margins / 2], 1)

    each = torch.eye(clean.numel()).reshape(-1, *shape[1:])
    matrix = (weight * F.conv3d(each, kernel, padding=1)).flatten(1).T.double().numpy()
    wanted, n = -bias.flatten().double().numpy(), clean.numel()
    if norm == "linf":
        rows = np.block([[matrix, np.zeros((n, 1))], [np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))]])
        limits = np.concatenate([wanted, np.zeros(2 * n)])
        least = linprog(np.eye(n + 1)[-1], rows, limits, bounds=(None, None)).fun
    else:  # least distance programming of Lawson and Hanson
        dual, _ = nnls(np.vstack([-matrix.T, -wanted[None]]), np.eye(n + 1)[-1], maxiter=100 * n)
        residual = np.vstack([-matrix.T, -wanted[None]]) @ dual - np.eye(n + 1)[-1]
        least = np.linalg.norm(residual[:-1] / residual[-1]) / n**0.5
    adversarial = ROSTER[f"minimal_{norm}"].build(goal=1.0)(Shared(), clean, torch.ones(shape))
    change = (adversarial - clean).abs()
    reached = float(change.max() if norm == "linf" else change.square().mean().sqrt())
    assert 0.999 * least < reached < 1.05 * least, reached / least
