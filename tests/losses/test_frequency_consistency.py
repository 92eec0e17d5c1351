# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from monai_vafa.losses import FrequencyConsistencyLoss


def logits(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(2))


def norm(array):
    """L1 norm of the DCT over all axes but batch and classes, by scipy."""
    return np.abs(dctn(array, axes=range(2, array.ndim), norm="ortho")).sum()


@pytest.mark.parametrize(("normalize", "key"), [(False, "fr_l1_sum"), (True, "fr_normalised")])
def test_is_what_the_released_code_computes(normalize, key):
    with np.load(Path(__file__).parents[1] / "attacks" / "golden" / "released_code.npz") as file:
        golden = {name: torch.from_numpy(file[name]) for name in file.files}
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.Softplus(), torch.nn.Conv3d(6, 3, 3, padding=1)
    )
    network.load_state_dict({"0.weight": golden["w1"], "0.bias": golden["b1"]}, strict=False)
    network.load_state_dict({"2.weight": golden["w2"], "2.bias": golden["b2"]}, strict=False)
    with torch.no_grad():
        clean, adversarial = (network(golden[name][None, None]) for name in ("image", "vafa3d_plain_adv"))
    loss = FrequencyConsistencyLoss(normalize=normalize)(adversarial, clean)
    assert float(loss) == pytest.approx(float(golden[key]), rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(
    batch=st.integers(1, 3),
    classes=st.integers(1, 3),
    spatial=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
)
def test_is_equation_4_over_the_whole_batch(batch, classes, spatial, seed):
    adversarial, clean = logits(batch, classes, *spatial, seed=seed)
    distance = norm((clean - adversarial).numpy())
    assert float(FrequencyConsistencyLoss(normalize=False)(adversarial, clean)) == pytest.approx(distance)
    assert float(FrequencyConsistencyLoss()(adversarial, clean)) == pytest.approx(distance / norm(clean.numpy()))


def test_blocks_are_transformed_each_by_itself():
    adversarial, clean = logits(2, 2, 8, 4, 4)
    halves = [norm((clean - adversarial)[:, :, part].numpy()) for part in (slice(0, 4), slice(4, 8))]
    loss = FrequencyConsistencyLoss(block_size=4, normalize=False)(adversarial, clean)
    assert float(loss) == pytest.approx(sum(halves))
    assert float(loss) != pytest.approx(norm((clean - adversarial).numpy()), rel=1e-3)


def test_windows_that_are_no_multiple_of_the_block_are_filled_with_their_edge():
    adversarial, clean = logits(1, 2, 5, 4)
    filled = [torch.cat([x, *[x[:, :, -1:]] * 3], 2) for x in (adversarial, clean)]
    loss = FrequencyConsistencyLoss(block_size=(4, 2))
    assert torch.allclose(loss(adversarial, clean), loss(*filled))


def test_normaliser_is_the_clean_one():
    adversarial, clean = logits(1, 2, 4, 4, 4)
    forward, backward = (
        FrequencyConsistencyLoss()(*pair) for pair in ((adversarial, clean * 2), (clean * 2, adversarial))
    )
    assert float(forward / backward) == pytest.approx(norm(adversarial.numpy()) / norm(2 * clean.numpy()))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("block_size", [None, 2])
def test_gradient_flows_to_both_arguments(normalize, block_size):
    adversarial, clean = (x.requires_grad_() for x in logits(2, 2, 3, 4))
    loss = FrequencyConsistencyLoss(block_size=block_size, normalize=normalize)
    assert torch.autograd.gradcheck(loss, (adversarial, clean))
    loss(adversarial, clean).backward()
    assert adversarial.grad.abs().sum() > 0
    # through the normaliser too
    assert torch.allclose(clean.grad, -adversarial.grad) != normalize


def test_equal_logits_cost_nothing():
    clean = logits(1, 2, 4, 4, 4)[0].requires_grad_()
    adversarial = clean.detach().clone().requires_grad_()
    loss = FrequencyConsistencyLoss()(adversarial, clean)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not adversarial.grad.any()
    assert not clean.grad.any()


def test_clean_logits_of_zero_are_not_divided_by():
    adversarial = logits(1, 2, 4, 4, 4)[0].requires_grad_()
    clean = torch.zeros_like(adversarial, requires_grad=True)
    loss = FrequencyConsistencyLoss()(adversarial, clean)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(norm(adversarial.detach().numpy()))
    assert torch.isfinite(adversarial.grad).all()
    assert torch.isfinite(clean.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    adversarial, clean = (x.to(dtype).requires_grad_() for x in logits(1, 2, 8, 8, 8))
    expected = FrequencyConsistencyLoss()(adversarial.detach().float(), clean.detach().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = FrequencyConsistencyLoss()(adversarial, clean)
        of_float32 = FrequencyConsistencyLoss()(adversarial.float(), clean.float())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert torch.equal(of_float32, expected)
    loss.backward()
    assert adversarial.grad.dtype == dtype


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 2, 4, 4), (1, 2, 4, 5)), "input of shape"),
        (((2, 4), (2, 4)), "1 to 3 spatial axes"),
        (((1, 2, 3, 4, 4, 4), (1, 2, 3, 4, 4, 4)), "1 to 3 spatial axes"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, message):
    with pytest.raises(ValueError, match=message):
        FrequencyConsistencyLoss()(*(torch.zeros(shape) for shape in shapes))


def test_impossible_blocks_are_named():
    with pytest.raises(ValueError, match="block_size"):
        FrequencyConsistencyLoss(block_size=(4, 4))(*logits(1, 2, 8, 8, 8))
