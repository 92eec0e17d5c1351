# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""How far apart the logits of an image and of its adversarial version are in the frequency domain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.modules.loss import _Loss

from monai_vafa.frequency import dct, split_blocks

__all__ = ["FrequencyConsistencyLoss"]


class FrequencyConsistencyLoss(_Loss):
    """
    L1 distance of the DCT of adversarial and clean logits: the ``L_fr`` of VAFT.

    Hanif et al., "Frequency Domain Adversarial Training for Robust Volumetric Medical Segmentation", MICCAI 2023,
    Eq. 4: ``|| DCT(M(X)) - DCT(M(X')) ||_1``. The authors' released code divides it by ``|| DCT(M(X)) ||_1``, as is
    done here by default: the plain sum is thousands of times the Dice loss beside it.

    As there, each norm is one sum over volumes, classes and coefficients of the whole batch. So the normalised loss
    is no mean over volumes (one with large logits counts for more), and the plain sum grows with the batch. In parallel
    training the batch is that of the process.

    Args:
        block_size: ``None`` transforms each window in one piece; otherwise block side in voxels, an int or one per
            axis. Windows whose side is no multiple of it are filled up with their edge values, which count.
        normalize: divide by the norm of the clean logits, through which the gradient flows too.
    """

    def __init__(self, block_size: int | Sequence[int] | None = None, normalize: bool = True) -> None:
        super().__init__()
        self.block_size = block_size
        self.normalize = normalize

    def forward(self, adversarial_logits: torch.Tensor, clean_logits: torch.Tensor) -> torch.Tensor:
        """
        Compare the logits of two batches.

        Args:
            adversarial_logits: ``(B, classes, *spatial)`` with 1 to 3 spatial axes.
            clean_logits: same shape; they give the norm that is divided by.

        Returns:
            a scalar, 0 where both are equal, float32 or wider also under autocast. Where all clean logits are 0,
            nothing is divided and it is the plain sum.

        Raises:
            ValueError: When the shapes differ, or are no batch of 1-D to 3-D logits.
        """
        shape = tuple(clean_logits.shape)
        if adversarial_logits.shape != clean_logits.shape:
            raise ValueError(
                f"adversarial_logits of shape {tuple(adversarial_logits.shape)} must be of the shape of clean_logits, "
                f"{shape}."
            )
        if not 3 <= len(shape) <= 5:
            raise ValueError(f"logits must be (B, classes, *spatial) with 1 to 3 spatial axes, got shape {shape}.")
        # Autocast would take the matrix products of the DCT back to half precision.
        with torch.autocast(clean_logits.device.type, enabled=False):
            clean = clean_logits.to(torch.promote_types(clean_logits.dtype, torch.float32))
            # The DCT is linear, and the difference of logits has no rounding error of large coefficients.
            distance = self._norm(adversarial_logits.to(clean.dtype) - clean)
            if not self.normalize:
                return distance
            norm = self._norm(clean)
            return distance / torch.where(norm > 0, norm, 1.0)

    def _norm(self, logits: torch.Tensor) -> torch.Tensor:
        """Sum of the absolute DCT coefficients."""
        spatial_dims = logits.ndim - 2
        blocks = logits if self.block_size is None else split_blocks(logits, self.block_size)
        return dct(blocks, spatial_dims).abs().sum()
