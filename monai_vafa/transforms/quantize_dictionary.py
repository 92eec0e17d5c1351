# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms: frequency quantisation of the items of a dictionary, with MONAI's names for it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform

from .quantize_array import FrequencyQuantize, RandFrequencyQuantize

__all__ = [
    "FrequencyQuantizeD",
    "FrequencyQuantizeDict",
    "FrequencyQuantized",
    "RandFrequencyQuantizeD",
    "RandFrequencyQuantizeDict",
    "RandFrequencyQuantized",
]


class FrequencyQuantized(MapTransform):
    """
    Dictionary-based version of :class:`FrequencyQuantize`.

    Args:
        keys: keys of the images to quantise.
        q: see :class:`FrequencyQuantize`.
        block_size: see :class:`FrequencyQuantize`.
        intensity_range: see :class:`FrequencyQuantize`.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = FrequencyQuantize.backend

    def __init__(
        self,
        keys: KeysCollection,
        q: float = 20.0,
        block_size: Sequence[int] | int = 32,
        intensity_range: Sequence[float] | None = (0.0, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transform = FrequencyQuantize(q, block_size, intensity_range)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Quantise the images of a dictionary."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key])
        return d


class RandFrequencyQuantized(MapTransform, RandomizableTransform):
    """
    Dictionary-based version of :class:`RandFrequencyQuantize`; all keys share one draw.

    Args:
        keys: keys of the images to quantise.
        prob: see :class:`RandFrequencyQuantize`.
        q_range: see :class:`RandFrequencyQuantize`.
        block_size: see :class:`FrequencyQuantize`.
        intensity_range: see :class:`FrequencyQuantize`.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = RandFrequencyQuantize.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        q_range: Sequence[float] = (5.0, 20.0),
        block_size: Sequence[int] | int = 32,
        intensity_range: Sequence[float] | None = (0.0, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.transform = RandFrequencyQuantize(1.0, q_range, block_size, intensity_range)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandFrequencyQuantized:
        """Seed the draws."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Quantise the images of a dictionary, or leave them."""
        d = dict(data)
        self.randomize(None)
        if self._do_transform:
            self.transform.randomize()
            for key in self.key_iterator(d):
                d[key] = self.transform(d[key], randomize=False)
        return d


FrequencyQuantizeD = FrequencyQuantizeDict = FrequencyQuantized
RandFrequencyQuantizeD = RandFrequencyQuantizeDict = RandFrequencyQuantized
