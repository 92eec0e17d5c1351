# SPDX-License-Identifier: Apache-2.0
"""Frequency quantisation as a corruption and as an augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.config import NdarrayOrTensor
from monai.transforms import RandomizableTransform, Transform
from monai.utils import TransformBackends

from monai_vafa.attacks import checks
from monai_vafa.frequency import block_sides, quantize_image

from .attack import like_input


class FrequencyQuantize(Transform):
    """
    Round the DCT coefficients of an image's blocks to multiples of one step: compression as a corruption.

    Needs no network; this is what VAFA does when all its tables stay at ``q``.

    Args:
        q: quantisation step, in intensity levels (0-255 scale).
        block_size: block side in voxels, an int or one per axis.
        intensity_range: lowest and highest value of the image; ``None`` takes the image's own range. Values outside
            are clipped.

    Raises:
        ValueError: If ``q`` is not above 0 or ``intensity_range`` not increasing.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __init__(
        self,
        q: float = 20.0,
        block_size: Sequence[int] | int = 32,
        intensity_range: Sequence[float] | None = (0.0, 1.0),
    ) -> None:
        self.q = checks.check_positive("q", q)
        self.intensity_range = None if intensity_range is None else checks.check_range(intensity_range)
        block_sides(block_size)
        self.block_size = block_size

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Quantise one image ``(C, *spatial)`` with 1 to 3 spatial axes; type and meta data stay, integers become float32.

        Raises:
            ValueError: If ``img`` is empty or holds NaN or infinity, which would spread over a whole block.
        """
        image = checks.plain_tensor("img", img).float()
        checks.check_image_values(image)
        low, high = self.intensity_range or (float(image.min()), float(image.max()))
        width = (high - low) or 1.0
        block = block_sides(self.block_size, image.ndim - 1)
        quantized = quantize_image(((image - low) / width).clamp(0, 1)[None], self.q, block)[0] * width + low
        return like_input(quantized, img)


class RandFrequencyQuantize(RandomizableTransform):
    """
    :class:`FrequencyQuantize` with a random step: an augmentation for training.

    Args:
        prob: probability of quantising at all.
        q_range: range above 0 that the step is drawn from uniformly, in intensity levels (0-255 scale).

    All others: see :class:`FrequencyQuantize`.
    """

    backend = FrequencyQuantize.backend

    def __init__(
        self,
        prob: float = 0.1,
        q_range: Sequence[float] = (5.0, 20.0),
        block_size: Sequence[int] | int = 32,
        intensity_range: Sequence[float] | None = (0.0, 1.0),
    ) -> None:
        if not 0 <= checks.check_number("prob", prob) <= 1:
            raise ValueError(f"prob={prob} must be in [0, 1].")
        RandomizableTransform.__init__(self, prob)
        self.q_range = checks.check_numbers("q_range", q_range)
        if len(self.q_range) != 2 or not 0 < self.q_range[0] <= self.q_range[1]:
            raise ValueError(f"q_range={q_range} must be (lowest, highest) with 0 < lowest <= highest.")
        self._quantize = FrequencyQuantize(self.q_range[0], block_size, intensity_range)

    def randomize(self, data: Any = None) -> None:
        """Draw whether to quantise, and the step."""
        super().randomize(None)
        if self._do_transform:
            self._quantize.q = float(self.R.uniform(self.q_range[0], self.q_range[1]))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Quantise one image ``(C, *spatial)``, or return it as it is; ``randomize`` draws anew before."""
        if randomize:
            self.randomize()
        return self._quantize(img) if self._do_transform else img
