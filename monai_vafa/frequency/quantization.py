# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Rounding of DCT coefficients to multiples of a quantisation table, hard or differentiable."""

from __future__ import annotations

import math

import torch

__all__ = ["quantize", "soft_round"]


def soft_round(u: torch.Tensor, alpha: float) -> torch.Tensor:
    """
    Differentiable rounding (Hanif et al., MICCAI 2023; after AdvDrop, Duan et al., ICCV 2021).

    ``floor(u) + (tanh((u - floor(u) - 0.5) * log(2 / alpha - 1)) / (1 - alpha) + 1) / 2``

    Args:
        u: any floating tensor.
        alpha: softness in (0, 1); towards 0 the result is ``u`` rounded.

    Returns:
        same shape and dtype as ``u``.

    Raises:
        ValueError: If ``alpha`` is not in (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha} must be in (0, 1).")
    floor = u.floor()
    return floor + (torch.tanh((u - floor - 0.5) * math.log(2 / alpha - 1)) / (1 - alpha) + 1) / 2


def quantize(coefficients: torch.Tensor, table: torch.Tensor | float, alpha: float | None = None) -> torch.Tensor:
    """
    Round coefficients to multiples of a table's entries.

    Args:
        coefficients: DCT coefficients of voxels on the 0-255 scale.
        table: quantisation table, broadcast against ``coefficients``; entries above 0.
        alpha: softness of the rounding (see :func:`soft_round`); ``None`` rounds hard.

    Returns:
        the quantised coefficients, multiplied by ``table`` again.
    """
    ratio = coefficients / table
    return (ratio.round() if alpha is None else soft_round(ratio, alpha)) * table
