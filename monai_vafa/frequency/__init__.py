# SPDX-License-Identifier: Apache-2.0
"""Pure tensor maths: blocks, cosine transform, quantisation. No model, no state."""

from __future__ import annotations

from .bands import BAND_WIDTH, expand_bands, in_plane_frequency
from .blocks import block_sides, merge_blocks, split_blocks
from .dct import dct, idct
from .spectrum import block_spectrum, quantize, quantize_image, soft_round, spectrum_to_image

__all__ = [
    "BAND_WIDTH",
    "block_sides",
    "block_spectrum",
    "dct",
    "expand_bands",
    "idct",
    "in_plane_frequency",
    "merge_blocks",
    "quantize",
    "quantize_image",
    "soft_round",
    "spectrum_to_image",
    "split_blocks",
]
