# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_vafa.frequency import dct, idct

sides = st.integers(1, 12)


@settings(deadline=None, max_examples=40)
@given(shape=st.lists(sides, min_size=3, max_size=5), dims=st.integers(1, 3), seed=st.integers(0, 99))
def test_equals_scipy_and_is_undone_by_its_inverse(shape, dims, seed):
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    axes = tuple(range(-dims, 0))
    coefficients = dct(torch.from_numpy(x), dims)
    np.testing.assert_allclose(coefficients, scipy.fft.dctn(x, norm="ortho", axes=axes), atol=1e-5)
    np.testing.assert_allclose(idct(coefficients, dims), x, atol=1e-5)


@pytest.mark.parametrize("side", [32, 96])
def test_blocks_of_the_paper_equal_scipy(side):
    x = np.random.default_rng(0).random((side, side, side), dtype=np.float32)
    reference = scipy.fft.dctn(x, norm="ortho")
    error = np.abs(dct(torch.from_numpy(x)).numpy() - reference).max() / np.abs(reference).max()
    assert error < 1e-5


def test_energy_is_kept():
    x = torch.randn(2, 8, 9, 10, dtype=torch.float64)
    assert torch.allclose(dct(x).square().sum(), x.square().sum())


@pytest.mark.parametrize("transform", [dct, idct])
def test_gradients(transform):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(transform, x)


def test_basis_made_under_inference_mode_serves_autograd_later():
    with torch.inference_mode():
        dct(torch.ones(13), 1)
    x = torch.ones(13, requires_grad=True)
    dct(x, 1).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_is_kept(dtype):
    assert dct(torch.ones(4, 4, 4, dtype=dtype)).dtype == dtype


def test_integers_are_refused():
    with pytest.raises(TypeError, match="float"):
        dct(torch.ones(4, 4, 4, dtype=torch.long))


def test_more_axes_than_the_tensor_has_are_refused():
    with pytest.raises(ValueError, match="spatial_dims=3"):
        dct(torch.ones(4, 4))
