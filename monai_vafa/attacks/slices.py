# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Per-slice re-scaling, an ingredient of the released VAFA code that does much of its damage by itself."""

from __future__ import annotations

import torch

__all__ = ["rescale_slices"]

_ROUNDING = 1e-5


def rescale_slices(image: torch.Tensor) -> torch.Tensor:
    """
    Stretch each axial slice (last axis) to [0, 1] by its own lowest and highest value.

    As in the authors' released code, except that a constant slice, where that code divides 0 by 0, stays as it is;
    constant up to rounding, since stretching rounding errors to full range would give every machine another image.

    Args:
        image: ``(B, C, H, W, D)``, or ``(B, C, H, W)``, which counts as one slice.

    Returns:
        same shape, differentiable.
    """
    low = image.amin(dim=(2, 3), keepdim=True)
    width = image.amax(dim=(2, 3), keepdim=True) - low
    constant = width < _ROUNDING
    return torch.where(constant, image, (image - low) / torch.where(constant, 1.0, width))
