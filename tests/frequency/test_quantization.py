# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_vafa.frequency import quantize, soft_round

values = st.floats(-1e4, 1e4)


@given(values)
def test_soft_round_becomes_round_as_it_hardens(u):
    if abs(u % 1 - 0.5) > 0.01:
        x = torch.tensor(u, dtype=torch.float64)
        assert soft_round(x, 1e-100).item() == pytest.approx(x.round().item(), abs=0.02)


@given(values, st.floats(1e-6, 0.1))
def test_soft_round_stays_within_the_two_whole_numbers(u, alpha):
    x = torch.tensor(u, dtype=torch.float64)
    assert x.floor() - 1e-6 <= soft_round(x, alpha) <= x.floor() + 1 + 1e-6


def test_soft_round_follows_its_formula():
    u, alpha = torch.tensor(2.3), 0.1
    by_hand = 2 + (torch.tanh((u - 2.5) * torch.log(torch.tensor(19.0))) / 0.9 + 1) / 2
    assert soft_round(u, alpha).item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_soft_round_passes_gradients():
    u = (torch.arange(8, dtype=torch.float64) + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_round(x, 0.05), u)


@given(values, st.floats(1, 50))
def test_hard_quantisation_gives_the_nearest_multiple(c, q):
    coefficient = torch.tensor(c, dtype=torch.float64)
    quantized = quantize(coefficient, q)
    assert (quantized / q).item() == pytest.approx(round((quantized / q).item()), abs=1e-6)
    assert abs(quantized - coefficient) <= q / 2 + 1e-6


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1])
def test_impossible_softness_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        soft_round(torch.zeros(1), alpha)
