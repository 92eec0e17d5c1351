# SPDX-License-Identifier: Apache-2.0
"""How far apart the logits of an image and of its adversarial version are in the frequency domain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.modules.loss import _Loss

from monai_vafa.frequency import dct, split_blocks
from monai_vafa.frequency.precision import full_precision
from monai_vafa.outputs import check_tensor


class FrequencyConsistencyLoss(_Loss):
    """
    L1 distance between the DCTs of adversarial and clean logits: ``L_fr`` of VAFT.

    Hanif et al., "Frequency Domain Adversarial Training for Robust Volumetric Medical Segmentation", MICCAI 2023,
    Eq. 4: ``|| DCT(M(X)) - DCT(M(X')) ||_1``. The authors' released code divides it by ``|| DCT(M(X)) ||_1``, which
    is also the default here: the plain sum is thousands of times larger than the Dice loss beside it. As in that code,
    each norm is one sum over the whole batch (in parallel training, that of the process): one volume with large logits
    counts for more, and the plain sum grows with the batch.

    Args:
        block_size: block side in voxels, an int or one per axis; ``None`` transforms each window in one piece. A window
            whose side is not a multiple of it is padded with its edge values, which count too.
        normalize: divide by the norm of the clean logits; the gradient flows through it too.
    """

    def __init__(self, block_size: int | Sequence[int] | None = None, normalize: bool = True) -> None:
        super().__init__()
        self.block_size = block_size
        self.normalize = normalize

    @full_precision
    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """
        Compare the logits of two batches.

        Args:
            input: adversarial logits ``(B, classes, *spatial)`` with 1 to 3 spatial axes.
            target: clean logits, same shape.

        Returns:
            a scalar, float32 or wider also under autocast; if all clean logits are 0, the plain sum.

        Raises:
            TypeError: If one is not a tensor of floating numbers.
            ValueError: If the shapes differ, or are not those of a batch of 1-D to 3-D logits.
        """
        if input.shape != target.shape:
            raise ValueError(f"input of shape {tuple(input.shape)} must have target's shape, {tuple(target.shape)}.")
        check_tensor("target (clean logits)", target, floating=True)
        check_tensor("input (adversarial logits)", input, floating=True)
        # The DCT is linear, and the difference of logits is free of the rounding errors of large coefficients.
        distance = self._norm(input.to(target.dtype) - target)
        if not self.normalize:
            return distance
        norm = self._norm(target)
        return distance / torch.where(norm > 0, norm, 1.0)

    def _norm(self, logits: torch.Tensor) -> torch.Tensor:
        """Sum of the absolute DCT coefficients."""
        blocks = logits if self.block_size is None else split_blocks(logits, self.block_size)
        return dct(blocks, logits.ndim - 2).abs().sum()
