# SPDX-License-Identifier: Apache-2.0
"""Half precision, images without contrast and extreme units give no NaN, and float32 is close to float64."""

from __future__ import annotations

import copy
import logging
import math
from inspect import signature

import pytest
import torch
import torch.nn.functional as F

from monai_vafa.attacks import CoefficientAttack, FastGradientSign, VolumetricFrequencyAttack
from monai_vafa.attacks.roster import ROSTER
from monai_vafa.frequency import block_spectrum, dct, idct, quantize, quantize_image, spectrum_to_image
from monai_vafa.handlers import VAFTHandler
from monai_vafa.losses import BlockSSIMLoss, DiceCrossEntropyLoss, FrequencyConsistencyLoss
from monai_vafa.metrics import FittingSSIMMetric, LPIPSMetric, changed_voxel_rate, linf_distance, rmse_distance
from monai_vafa.outputs import predicted_labels
from tests.handlers.conftest import loss_function, train  # noqa: F401
from tests.metrics.test_lpips import trunk  # noqa: F401

from .strategies import LOSSES

logger = logging.getLogger(__name__)

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
CONTENTS = ("noise", "constant", "zero", "one", "flat", "spike")
# Float16 ends at 65504, so wider units are for bfloat16 and float32.
RANGES = ((0.0, 1.0), None, (0.0, 1e-6), (-1000.0, 1000.0))
WIDE = ((0.0, 1e6), (-1e6, 1e6))
MANY = [100, pytest.param(1000, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Images that fill next to nothing of their range are warned of, as they should be."""
    caplog.set_level(logging.ERROR, "monai_vafa")
    caplog.set_level(logging.INFO, __name__)


class Draw:
    """Choices of one case, by its number."""

    def __init__(self, number: int) -> None:
        self.generator = torch.Generator().manual_seed(number)

    def of(self, choices):
        return choices[int(torch.randint(len(choices), (), generator=self.generator))]

    def rand(self, *shape):
        return torch.rand(*shape, generator=self.generator)

    def randn(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def classes(self, highest, *shape):
        return torch.randint(highest, shape, generator=self.generator)

    def image(self, content, *shape):
        """In [0, 1]."""
        image = self.rand(*shape)
        if content in ("constant", "zero", "one"):
            return torch.full_like(image, {"constant": 0.3, "zero": 0.0, "one": 1.0}[content])
        if content == "spike":  # one voxel
            image = torch.zeros_like(image)
            image[..., 1, 2, 3] = 1.0
        return 0.5 + 1e-5 * image if content == "flat" else image


def network(middle="plain"):
    layers = {
        "plain": [torch.nn.Softplus()],
        "instance": [torch.nn.InstanceNorm3d(4), torch.nn.LeakyReLU(0.1)],
        "batch": [torch.nn.BatchNorm3d(4), torch.nn.ReLU()],
    }[middle]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), *layers, torch.nn.Conv3d(4, 3, 3, padding=1))


@pytest.mark.filterwarnings("ignore:the network's gradient is zero everywhere")
@pytest.mark.parametrize("cases", MANY)
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("how", ["autocast", "network"])
def test_attacks_in_half_precision(cases, dtype, how):
    """Every attack of the roster, on images of any content and units, with networks of three kinds."""
    names = list(ROSTER)
    for number in range(cases // 4):
        draw = Draw(number)
        entry = ROSTER[names[number % len(names)]]
        model = network(draw.of(["plain", "instance", "batch"]))
        if how == "network":
            model = model.to(HALF[dtype])
        units = draw.of(RANGES if dtype == "float16" else RANGES + WIDE)
        low, high = units or draw.of([(0.0, 1e-6), (0.0, 1e3), (-5.0, 5.0)])
        image = (draw.image(draw.of(CONTENTS), 2, 1, 8, 8, 8) * (high - low) + low).clamp(low, high)
        activation = draw.of(["softmax", "sigmoid"])
        label = draw.classes(3, 2, 1, 8, 8, 8) if activation == "softmax" else draw.classes(2, 2, 3, 8, 8, 8)
        known = signature(entry.attack).parameters
        own = {"steps": 3, "block_size": draw.of([4, 8])}
        if "loss" in known and not entry.name.startswith("apgd_masked_ce"):  # has no targeted form
            own["targeted"] = draw.of([True, False])
        attack = entry.build(
            **{name: value for name, value in own.items() if name in known and known[name].kind.name == "KEYWORD_ONLY"},
            activation=activation,
            intensity_range=units,
            amp=dtype if how == "autocast" else None,
            seed=number,
        )
        result = attack.run(model, image, label)
        case = f"case {number}: {attack}"
        for values in (result.adversarial, result.losses, result.tables):
            assert values is None or torch.isfinite(values).all(), case
        assert result.adversarial.dtype == torch.float32
        if units is None:  # each volume has its own range, of width 1 where it is constant
            low, high = float(image.min()), float(image.max())
            high = high if high > low else low + 1
        slack = 1e-6 * max(abs(low), abs(high))
        assert low - slack <= result.adversarial.min() and result.adversarial.max() <= high + slack, case


@pytest.mark.parametrize("cases", MANY)
def test_losses_of_logits_in_half_precision(cases):
    """Values and gradients are finite for logits up to the largest of float16, also where all voxels are right."""
    for number in range(cases):
        draw = Draw(number)
        dtype, scale = draw.of([*HALF.values(), torch.float32]), draw.of([0.0, 1e-6, 1.0, 10.0, 1e3, 6e4])
        activation, kind = draw.of(["softmax", "sigmoid"]), draw.of(["random", "one class", "right"])
        logits = (draw.randn(2, 3, 4, 4, 4) * scale).clamp(-6.5e4, 6.5e4).to(dtype)
        label = draw.classes(3, 2, 1, 4, 4, 4) if activation == "softmax" else draw.classes(2, 2, 3, 4, 4, 4).float()
        label = {"random": label, "one class": torch.zeros_like(label)}.get(kind, predicted_labels(logits, activation))
        losses = [loss(activation=activation) for loss in LOSSES]
        calls = [(logits, lambda z, loss=loss, label=label: loss(z, label.to(z.dtype))) for loss in losses]
        calls += [(0.9 * logits, lambda z, clean=logits: FrequencyConsistencyLoss()(z, clean))]
        calls += [(logits, lambda z, other=0.9 * logits: FrequencyConsistencyLoss()(other, z))]
        for given, loss in calls:
            variable = given.clone().requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(number % 2)):
                value = loss(variable)
            (gradient,) = torch.autograd.grad(value, variable)
            assert value.dtype == torch.float32 and math.isfinite(value.detach()), (number, value)
            assert torch.isfinite(gradient).all(), number


@pytest.mark.parametrize("cases", MANY)
def test_comparisons_of_images_in_half_precision(cases):
    for number in range(cases):
        draw = Draw(number)
        dtype = draw.of([*HALF.values(), torch.float32])
        clean = draw.image(draw.of(CONTENTS), 2, 1, 8, 8, 8).to(dtype)
        noise = draw.of([0.0, 1e-6, 1e-2, 1.0]) * draw.randn(*clean.shape)
        image = (clean.float() + noise).clamp(0, 1).to(dtype)
        variable = image.clone().requires_grad_()
        loss = BlockSSIMLoss(draw.of([4, 8]))(variable, clean)
        (gradient,) = torch.autograd.grad(loss, variable)
        assert 0 <= loss.item() <= 1 and torch.isfinite(gradient).all(), number
        ssim = FittingSSIMMetric(spatial_dims=3)(image, clean)
        distances = linf_distance(image, clean), rmse_distance(image, clean)
        assert (ssim <= 1).all() and (ssim >= -1).all(), number
        assert all(torch.isfinite(d).all() and (d >= 0).all() and (d <= 255).all() for d in distances), number
        assert torch.isfinite(changed_voxel_rate(image > 0.5, clean > 0.5)).all()


@pytest.mark.parametrize("dtype", [*HALF.values(), torch.float32])
def test_lpips_of_images_without_contrast(dtype, trunk):  # noqa: F811
    metric = LPIPSMetric(trunk=trunk)
    for number, content in enumerate(CONTENTS):
        clean, other = (Draw(number).image(kind, 1, 1, 32, 32, 4).to(dtype) for kind in (content, "noise"))
        assert metric(clean, clean.clone()).item() == 0
        assert math.isfinite(metric(other, clean).item()) and metric(other, clean).item() >= 0


@pytest.mark.parametrize("amp", [None, *HALF])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.filterwarnings("ignore:the network's gradient is zero everywhere")
def test_hardening_in_half_precision(amp, dtype, train):  # noqa: F811
    """Losses and gradients of VAFT, on batches of any content, with attacks and networks of less precision."""
    model, draw, attack = network("instance").to(dtype), Draw(0), VolumetricFrequencyAttack
    batches = [
        {"image": draw.image(content, 2, 1, 8, 8, 8).to(dtype), "label": draw.classes(3, 2, 1, 8, 8, 8)}
        for content in CONTENTS * 2
    ]
    seen = train(model, batches, VAFTHandler(attack=attack(steps=2, block_size=8, amp=amp)))
    assert len(seen) == len(batches)
    for losses, gradients in seen:
        assert all(torch.isfinite(loss).all() for loss in losses.values())
        assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("steps", [1, 20, 1000, 10**6, 10**9])
def test_gradient_of_the_soft_quantiser_at_its_last_softness(steps):
    """Also where a coefficient lies half way between two steps, on one, or far away."""
    table = torch.full((4096,), 20.0)
    coefficients = torch.linspace(-1e5, 1e5, 4096)
    coefficients[:400] = 10 * (torch.arange(400) - 200.0)
    for dtype in (torch.float32, torch.float64):
        variables = [v.to(dtype).requires_grad_() for v in (coefficients, table)]
        rounded = quantize(*variables, 0.1 / steps)
        gradients = torch.autograd.grad(rounded.sum(), variables)
        assert all(torch.isfinite(values).all() for values in (rounded, *gradients))
        assert float((rounded - variables[0]).abs().max()) <= 10.01


@pytest.mark.parametrize("attack", ["vafa", "vafa2d"])
def test_the_last_of_many_steps(attack):
    result = ROSTER[attack].build(steps=60, block_size=4).run(network(), Draw(0).rand(1, 1, 8, 8, 8))
    assert torch.isfinite(result.adversarial).all() and torch.isfinite(result.tables).all()
    assert torch.isfinite(result.losses).all()


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("units", [(0.0, 1e-6), (0.0, 1e6), None])
@pytest.mark.parametrize("name", ROSTER)
@pytest.mark.filterwarnings("ignore:the network's gradient is zero everywhere")
def test_images_without_contrast_and_extreme_units(name, units, content):
    """In float32, with a network that takes its input in any units: the change is what the budget allows."""
    low, high = units or (-1e6, 1e6)
    image = Draw(0).image(content, 1, 1, 8, 8, 8) * (high - low) + low
    model = torch.nn.Sequential(torch.nn.InstanceNorm3d(1, eps=1e-30), network())
    known = signature(ROSTER[name].attack).parameters
    own = {key: value for key, value in {"steps": 2, "block_size": 4}.items() if key in known}
    own = {} if name == "fgsm" else own
    result = ROSTER[name].build(**own, intensity_range=units).run(model, image)
    width = high - low if units else float(image.max() - image.min()) or 1.0
    change = float((result.adversarial - image).abs().max()) / width
    assert torch.isfinite(result.adversarial).all()
    assert change <= 1 + 1e-6
    if ROSTER[name].budget == "eps" and name != "coefficient":
        assert change <= 4 / 255 + 1e-5 + abs(low) / width * 1e-6, change


def furthest(one, other):
    return float((one.double() - other.double()).abs().max())


@pytest.mark.parametrize(("side", "most"), [(8, 1e-4), (32, 2e-4), (96, 4e-4)])
def test_dct_in_float32(side, most):
    """In intensity levels; coefficients are up to 128 * sqrt(side^3)."""
    volume = Draw(side).rand(1, side, side, side) * 255 - 128
    there, back = furthest(dct(volume), dct(volume.double())), furthest(idct(dct(volume)), volume)
    logger.info("DCT of side %d: %.2g there, %.2g there and back", side, there, back)
    assert max(there, back) < most


def ssim64(x, y, side, sigma):
    """SSIM of two volumes ``(B, 1, *spatial)`` in float64, from its definition."""
    offsets = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    line = line / line.sum()
    window = torch.einsum("i,j,k->ijk", line, line, line)[None, None]
    mean_x, mean_y = F.conv3d(x, window), F.conv3d(y, window)
    centred = [F.conv3d(a * b, window) - F.conv3d(a, window) * F.conv3d(b, window) for a, b in ((x, x), (y, y), (x, y))]
    luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    structure = (2 * centred[2] + 9e-4) / (centred[0] + centred[1] + 9e-4)
    return (luminance * structure).flatten(1).mean(1)


@pytest.mark.parametrize(("contrast", "most"), [(1.0, 1e-6), (1e-2, 2e-4), (1e-4, 2e-4)])
def test_ssim_in_float32(contrast, most):
    """Where there is little contrast, variances are differences of nearly equal numbers, worst in large windows."""
    differences = {"loss": [], "metric": []}
    for number in range(20):
        draw = Draw(number)
        x = (0.5 + contrast * (draw.rand(1, 1, 16, 16, 16) - 0.5)).clamp(0, 1)
        y = (x + contrast * 0.2 * draw.randn(*x.shape)).clamp(0, 1)
        loss = BlockSSIMLoss(16)(x, y)
        metric = FittingSSIMMetric(spatial_dims=3)(x, y)
        differences["loss"].append(furthest(1 - loss, ssim64(x.double(), y.double(), 3, 1.5)))
        differences["loss"].append(furthest(loss, BlockSSIMLoss(16)(x.double(), y.double())))
        differences["metric"].append(furthest(metric, ssim64(x.double(), y.double(), 11, 1.5)))
    largest = {name: max(values) for name, values in differences.items()}
    logger.info("SSIM at contrast %g: %s", contrast, largest)
    assert largest["loss"] < min(most, 2e-5)
    assert largest["metric"] < most


def test_block_quantisation_in_float32():
    """A coefficient half way between two steps may be rounded to the other one; of these few none did."""
    other, most, soft = 0, 0.0, 0.0
    for number in range(50):
        image = Draw(number).rand(1, 1, 16, 16, 16)
        spectra = block_spectrum(image, 8), block_spectrum(image.double(), 8)
        hard, gentle = ([quantize(s, 20.0, alpha) for s in spectra] for alpha in (None, 0.005))
        other += int(((hard[0] - hard[1]).abs() > 10).sum())
        soft = max(soft, furthest(*gentle))
        most = max(most, furthest(quantize_image(image, 20.0, 8), quantize_image(image.double(), 20.0, 8)))
    logger.info("quantisation: %.2g of [0, 1], soft %.2g levels", most, soft)
    assert other == 0 and most < 1e-6  # of [0, 1]
    assert soft < 5e-2  # levels; the slope is up to 298


def dice_cross_entropy(model, image, label):
    return DiceCrossEntropyLoss()(model(image), label)


@pytest.fixture
def cases():
    """Networks in both precisions, images and labels."""
    model = network()
    return [
        (model, copy.deepcopy(model).double(), Draw(n).rand(1, 1, 16, 16, 16), Draw(n).classes(3, 1, 1, 16, 16, 16))
        for n in range(20)
    ]


def test_one_step_of_fgsm_in_float32(cases):
    """All signs are those of a float64 gradient."""
    differing = entries = 0
    for model, double, image, label in cases:
        variable = image.double().requires_grad_()
        (gradient,) = torch.autograd.grad(dice_cross_entropy(double, variable, label), variable)
        expected = (image.double() + 4 / 255 * gradient.sign()).clamp(0, 1)
        differing += int(((FastGradientSign()(model, image, label) - expected).abs() > 1e-6).sum())
        entries += image.numel()
    logger.info("FGSM: %d of %d voxels go the other way", differing, entries)
    assert differing == 0


def test_one_step_of_vafa_in_float32(cases):
    """The image is the same to 1e-6, and all table entries but a few in 100,000 move the same way."""
    differing = entries = 0
    for model, double, image, label in cases:
        attack = VolumetricFrequencyAttack(steps=1, block_size=8, rescale_slices=False)
        result = attack.run(model, image, label)
        spectrum = block_spectrum(image.double(), 8)
        table = torch.full_like(spectrum, 20.0).requires_grad_()
        made = spectrum_to_image(quantize(spectrum, table, 0.1), image.shape[2:])
        similar = BlockSSIMLoss(8)(made, image.double())
        (gradient,) = torch.autograd.grad(dice_cross_entropy(double, made, label) - similar, table)
        expected = (20 + gradient.sign()).clamp(5, 20)
        assert furthest(result.adversarial, made.detach().clamp(0, 1)) < 1e-6
        differing += int((result.tables.double() != expected).sum())
        entries += expected.numel()
    logger.info("VAFA: %d of %d entries go the other way", differing, entries)
    assert differing / entries < 1e-4


def test_one_step_on_coefficients_in_float32(cases):
    """All but a few in 100,000 coefficients move the same way."""
    differing = entries = 0
    for model, double, image, label in cases:
        image = 0.8 * image + 0.1  # nothing is clipped
        attack = CoefficientAttack(loss=DiceCrossEntropyLoss(), steps=1, block_size=8, band_weights=None)
        spectrum = block_spectrum(image.double(), 8).requires_grad_()
        loss = dice_cross_entropy(double, spectrum_to_image(spectrum, image.shape[2:]), label)
        (gradient,) = torch.autograd.grad(loss, spectrum)
        expected = (attack.step_size * gradient.sign()).clamp(-attack.eps, attack.eps)
        change = block_spectrum(attack(model, image, label).double(), 8) - spectrum.detach()
        differing += int(((change - expected).abs() > 1e-3).sum())
        entries += change.numel()
    logger.info("coefficients: %d of %d entries go the other way", differing, entries)
    assert differing / entries < 1e-4
