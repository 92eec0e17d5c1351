# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Array transforms: channel-first wrappers over the attacks and the frequency maths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.config import NdarrayOrTensor
from monai.transforms import RandomizableTransform, Transform
from monai.transforms.traits import RandomizableTrait
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

from monai_vafa.attacks import Attack, SlidingWindowAttack, VolumetricFrequencyAttack
from monai_vafa.frequency import block_sides, quantize_image

__all__ = ["VAFA", "AttackTransform", "FrequencyQuantize", "RandFrequencyQuantize"]


class AttackTransform(Transform, RandomizableTrait):
    """
    Replace an image by its adversarial version.

    Counts as random for MONAI, so that no ``CacheDataset`` keeps adversarial images of a network that has moved on.

    Args:
        network: the network to attack; left as it was.
        attack: any attack of :mod:`monai_vafa.attacks`.
        roi_size: attack window by window, with windows of this size in voxels; ``None`` attacks the image in one
            piece, for images that fit the network's input.
        sw_batch_size: number of windows attacked at a time.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (MONAI's way)

    def __init__(
        self,
        network: torch.nn.Module,
        attack: Attack,
        roi_size: Sequence[int] | int | None = None,
        sw_batch_size: int = 1,
    ) -> None:
        if not isinstance(network, torch.nn.Module):
            raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}.")
        self.network = network
        self.attack = attack
        self.windows = SlidingWindowAttack(-1 if roi_size is None else roi_size, sw_batch_size)

    def __call__(self, img: NdarrayOrTensor, label: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """
        Attack one image.

        Args:
            img: channel-first ``(C, H, W, D)``, within the attack's ``intensity_range``.
            label: class map ``(1, H, W, D)`` or one channel per class; ``None``: the network's own prediction of the
                clean image stands in.

        Returns:
            adversarial image, float32, of the type that went in, with its meta data.

        Raises:
            ValueError: When image and label don't fit the attack, see :meth:`monai_vafa.attacks.Attack.run`.
        """
        image: torch.Tensor = convert_to_tensor(img, track_meta=False)
        labels = None if label is None else convert_to_tensor(label, track_meta=False)[None]
        adversarial = self.windows(self.attack, self.network, image[None], labels)[0]
        return convert_to_dst_type(adversarial, img, dtype=adversarial.dtype)[0]


class VAFA(AttackTransform):
    """
    Volumetric Adversarial Frequency Attack as a transform.

    Args:
        network: the network to attack; left as it was.
        roi_size: see :class:`AttackTransform`.
        sw_batch_size: see :class:`AttackTransform`.
        kwargs: parameters of :class:`monai_vafa.attacks.VolumetricFrequencyAttack`.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        roi_size: Sequence[int] | int | None = None,
        sw_batch_size: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, VolumetricFrequencyAttack(**kwargs), roi_size, sw_batch_size)


class FrequencyQuantize(Transform):
    """
    Round the DCT coefficients of an image's blocks to multiples of one step: compression as a corruption.

    Needs no network; what VAFA does when its tables all stay at ``q``.

    Args:
        q: quantisation step, 1 = one gray value of 255.
        block_size: block side in voxels, an int or one per axis.
        intensity_range: lowest and highest value of the image, ``None`` takes the image's own range; values outside
            are clipped.

    Raises:
        ValueError: When ``q`` is not above 0 or ``intensity_range`` not increasing.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __init__(
        self,
        q: float = 20.0,
        block_size: Sequence[int] | int = 32,
        intensity_range: Sequence[float] | None = (0.0, 1.0),
    ) -> None:
        if q <= 0:
            raise ValueError(f"q={q} must be above 0.")
        if intensity_range is not None and not intensity_range[0] < intensity_range[1]:
            raise ValueError(f"intensity_range={intensity_range} must be (lowest, highest) or None.")
        self.q = q
        self.block_size = block_size
        self.intensity_range = intensity_range

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Quantise one image.

        Args:
            img: channel-first ``(C, *spatial)`` with 1 to 3 spatial axes.

        Returns:
            float32, of the type that went in, with its meta data.
        """
        image = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
        low, high = self.intensity_range or (float(image.min()), float(image.max()))
        width = (high - low) or 1.0
        block = block_sides(self.block_size, image.ndim - 1)
        quantized = quantize_image(((image - low) / width).clamp(0, 1)[None], self.q, block)[0] * width + low
        return convert_to_dst_type(quantized, img, dtype=quantized.dtype)[0]


class RandFrequencyQuantize(RandomizableTransform):
    """
    :class:`FrequencyQuantize` with a random step: an augmentation for training.

    Args:
        prob: probability of quantising at all.
        q_range: the step is drawn uniformly from here, 1 = one gray value of 255.
        block_size: see :class:`FrequencyQuantize`.
        intensity_range: see :class:`FrequencyQuantize`.

    Raises:
        ValueError: When ``q_range`` is not increasing or not above 0.
    """

    backend = FrequencyQuantize.backend

    def __init__(
        self,
        prob: float = 0.1,
        q_range: Sequence[float] = (5.0, 20.0),
        block_size: Sequence[int] | int = 32,
        intensity_range: Sequence[float] | None = (0.0, 1.0),
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        if not 0 < q_range[0] <= q_range[1]:
            raise ValueError(f"q_range={tuple(q_range)} must satisfy 0 < lowest <= highest.")
        self.q_range = q_range
        self.block_size = block_size
        self.intensity_range = intensity_range
        self._q = float(q_range[0])

    def randomize(self, data: Any = None) -> None:
        """Draw whether to quantise, and the step."""
        super().randomize(None)
        if self._do_transform:
            self._q = float(self.R.uniform(self.q_range[0], self.q_range[1]))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """
        Quantise one image, or leave it.

        Args:
            img: channel-first ``(C, *spatial)``.
            randomize: draw anew before.

        Returns:
            the image itself, or float32 of the type that went in.
        """
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        return FrequencyQuantize(self._q, self.block_size, self.intensity_range)(img)
