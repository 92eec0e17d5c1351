# SPDX-License-Identifier: Apache-2.0
"""Public maths is that of float32 in half precision and under autocast, and never leaves its range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from monai_vafa.frequency import block_spectrum, dct, idct, quantize, quantize_image, soft_round, spectrum_to_image
from monai_vafa.losses import (
    BlockSSIMLoss,
    CosPGDLoss,
    DiceCrossEntropyLoss,
    FrequencyConsistencyLoss,
    JensenShannonLoss,
    MaskedCrossEntropyLoss,
    SegPGDLoss,
    SoftDiceLoss,
)
from monai_vafa.metrics import FittingSSIMMetric, linf_distance, rmse_distance

RANDOM = torch.Generator().manual_seed(0)
X = torch.rand(1, 1, 16, 16, 16, generator=RANDOM).bfloat16()
Y = (X.float() * 0.9 + 0.05).bfloat16()
LOGITS = (torch.randn(1, 3, 8, 8, 8, generator=RANDOM) * 8).bfloat16()
LABEL = torch.randint(0, 3, (1, 1, 8, 8, 8), generator=RANDOM)
MATHS = {
    "block_ssim": lambda x, y, z: BlockSSIMLoss(8)(x, y),
    "ssim": lambda x, y, z: FittingSSIMMetric(spatial_dims=3)(x, y),
    "linf": lambda x, y, z: linf_distance(x, y),
    "rmse": lambda x, y, z: rmse_distance(x, y),
    "spectrum": lambda x, y, z: block_spectrum(x, 8),
    "image": lambda x, y, z: spectrum_to_image(block_spectrum(x, 8), x.shape[2:]),
    "quantize_image": lambda x, y, z: quantize_image(x, 20.0, 8),
    "quantize": lambda x, y, z: quantize(x * 100, 3.0),
    "soft_round": lambda x, y, z: soft_round(x, 0.1),
    "frequency": lambda x, y, z: FrequencyConsistencyLoss()(z, z * 0.5),
    "dice_ce": lambda x, y, z: DiceCrossEntropyLoss()(z, LABEL),
    "dice": lambda x, y, z: SoftDiceLoss()(z, LABEL),
    "cospgd": lambda x, y, z: CosPGDLoss()(z, LABEL),
    "segpgd": lambda x, y, z: SegPGDLoss()(z, LABEL),
    "masked": lambda x, y, z: MaskedCrossEntropyLoss()(z, LABEL),
    "jsd": lambda x, y, z: JensenShannonLoss()(z, LABEL),
}


@pytest.mark.parametrize("name", MATHS)
def test_half_precision_computes_in_float32(name):
    given = X, Y, LOGITS
    if name == "quantize":  # the product of the test itself would be rounded
        given = ((X * 100).float() / 100, Y, LOGITS)
    expected = MATHS[name](*(t.float() for t in given))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(MATHS[name](*(t.float() for t in given)), expected, rtol=1e-5, atol=1e-5)
    if name != "quantize":
        got = MATHS[name](*given)
        assert got.dtype == torch.float32
        assert torch.allclose(got, expected, rtol=1e-5, atol=1e-5)
        assert torch.allclose(MATHS[name](*(t.half() for t in given)), expected, rtol=1e-3, atol=1e-3)


def test_dct_is_scipys_under_autocast_too():
    volume = X.float() * 255 - 128
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coefficients = dct(volume)
        back = idct(coefficients)
    assert np.allclose(coefficients, dctn(volume.numpy(), axes=(2, 3, 4), norm="ortho"), atol=1e-2)
    assert (back - volume).abs().max() < 1e-2


@pytest.mark.parametrize("values", [(0.9, 0.9), (1.0, 0.99), (0.3, 0.302), (0.0, 0.0), (1.0, 0.0)])
def test_ssim_of_constant_volumes_is_that_of_their_values(values):
    a, b = values
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    x, y = (torch.full((2, 1, 24, 24, 24), v) for v in values)
    for similarity in (FittingSSIMMetric(spatial_dims=3)(x, y), 1 - BlockSSIMLoss(8, reduction="none")(x, y)):
        assert similarity.max() <= 1
        assert similarity.flatten().numpy() == pytest.approx(expected, abs=1e-3)


def test_ssim_loss_is_never_below_0():
    for scale in (1e-6, 1e-3, 1):
        x = 1 - torch.rand(1, 1, 32, 32, 32, generator=RANDOM) * scale
        assert BlockSSIMLoss(16)(x, (x + 1e-7).clamp(max=1)) >= 0
        assert FittingSSIMMetric(spatial_dims=3)(x, (x + 1e-7).clamp(max=1)) <= 1


def test_reductions_of_ssim_loss():
    x, y = torch.cat([X, Y]).float(), torch.cat([Y, Y]).float()
    each = BlockSSIMLoss(8, reduction="none")(x, y)
    assert BlockSSIMLoss(8, reduction="sum")(x, y).item() == pytest.approx(each.sum().item())
    assert BlockSSIMLoss(8)(x, y).item() == pytest.approx(each.mean().item())
