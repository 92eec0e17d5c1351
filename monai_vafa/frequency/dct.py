# SPDX-License-Identifier: Apache-2.0
"""Orthonormal discrete cosine transform (DCT-II) and its inverse, as matrix products."""

from __future__ import annotations

from functools import lru_cache
from numbers import Integral

import torch

from .precision import full_precision


@lru_cache(maxsize=64)
def dct_basis(length: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Orthonormal DCT-II matrix ``(length, length)``, made in float64: row ``k`` is the cosine of frequency ``k``."""
    # Inference-mode tensors can't take part in autograd later, and this one is shared by all callers.
    with torch.inference_mode(False):
        k = torch.arange(length, dtype=torch.float64)
        basis = torch.cos(torch.pi * k[:, None] * (2 * k[None] + 1) / (2 * length)) * (2 / length) ** 0.5
        basis[0] /= 2**0.5
        return basis.to(dtype).to(device)


def dct(x: torch.Tensor, spatial_dims: int = 3) -> torch.Tensor:
    """
    Orthonormal DCT-II over the last axes, equal to ``scipy.fft.dctn(x, norm="ortho")`` there.

    Args:
        x: any floating tensor; coefficients have its shape and dtype, computed in float32 or wider.
        spatial_dims: how many of the last axes are transformed, 1 to 3.
    """
    return _transform(x, spatial_dims, inverse=False).to(x.dtype)


def idct(x: torch.Tensor, spatial_dims: int = 3) -> torch.Tensor:
    """Inverse of :func:`dct`: samples from coefficients, with the same parameters, shapes and precision."""
    return _transform(x, spatial_dims, inverse=True).to(x.dtype)


@full_precision
def _transform(x: torch.Tensor, spatial_dims: int, inverse: bool) -> torch.Tensor:
    if not x.is_floating_point():
        raise TypeError(f"the DCT takes floating tensors, got {x.dtype}; convert with .float() first.")
    if not isinstance(spatial_dims, Integral) or not 1 <= spatial_dims <= min(3, x.ndim):
        raise ValueError(f"spatial_dims={spatial_dims} must be 1 to 3 and at most the tensor's {x.ndim} axes.")
    for axis in range(-spatial_dims, 0):
        if x.shape[axis] <= 1:  # the transform of one sample is that sample
            continue
        basis = dct_basis(x.shape[axis], x.dtype, x.device)
        x = (x.movedim(axis, -1) @ (basis if inverse else basis.T)).movedim(-1, axis)
    return x
