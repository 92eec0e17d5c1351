# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms: the array transforms for the items of a dictionary, with MONAI's names for them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.transforms.traits import RandomizableTrait

from monai_vafa.attacks import Attack, VolumetricFrequencyAttack

from .array import AttackTransform, FrequencyQuantize, RandFrequencyQuantize

__all__ = [
    "VAFAD",
    "AttackTransformD",
    "AttackTransformDict",
    "AttackTransformd",
    "FrequencyQuantizeD",
    "FrequencyQuantizeDict",
    "FrequencyQuantized",
    "RandFrequencyQuantizeD",
    "RandFrequencyQuantizeDict",
    "RandFrequencyQuantized",
    "VAFADict",
    "VAFAd",
]


class AttackTransformd(MapTransform, RandomizableTrait):
    """
    Dictionary-based version of :class:`AttackTransform`.

    Args:
        keys: keys of the images to attack.
        network: see :class:`AttackTransform`.
        attack: see :class:`AttackTransform`.
        label_key: key of the label map; ``None``: the network's own prediction of the clean image stands in.
        roi_size: see :class:`AttackTransform`.
        sw_batch_size: see :class:`AttackTransform`.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = AttackTransform.backend

    def __init__(
        self,
        keys: KeysCollection,
        network: torch.nn.Module,
        attack: Attack,
        label_key: Hashable | None = None,
        roi_size: Sequence[int] | int | None = None,
        sw_batch_size: int = 1,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.label_key = label_key
        self.transform = AttackTransform(network, attack, roi_size, sw_batch_size)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """
        Attack the images of a dictionary.

        Args:
            data: dictionary of channel-first images and, under ``label_key``, a label map.

        Raises:
            KeyError: When an image or the label is missing and ``allow_missing_keys`` is off.
        """
        d = dict(data)
        label = None
        if self.label_key is not None:
            if self.label_key not in d and not self.allow_missing_keys:
                raise KeyError(
                    f"label_key={self.label_key!r} is missing in the data and allow_missing_keys==False; "
                    "label_key=None attacks the network's own prediction instead."
                )
            label = d.get(self.label_key)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key], label)
        return d


class VAFAd(AttackTransformd):
    """
    Dictionary-based version of :class:`VAFA`.

    Example::

        Compose([LoadImaged(["image", "label"]), ..., VAFAd("image", network, label_key="label", q_max=20, steps=20)])

    Args:
        keys: keys of the images to attack.
        network: the network to attack; left as it was.
        label_key: key of the label map; ``None``: the network's own prediction of the clean image stands in.
        roi_size: see :class:`AttackTransform`.
        sw_batch_size: see :class:`AttackTransform`.
        allow_missing_keys: don't raise an exception if a key is missing.
        kwargs: parameters of :class:`monai_vafa.attacks.VolumetricFrequencyAttack`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: torch.nn.Module,
        label_key: Hashable | None = None,
        roi_size: Sequence[int] | int | None = None,
        sw_batch_size: int = 1,
        allow_missing_keys: bool = False,
        **kwargs: Any,
    ) -> None:
        attack = VolumetricFrequencyAttack(**kwargs)
        super().__init__(keys, network, attack, label_key, roi_size, sw_batch_size, allow_missing_keys)


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


AttackTransformD = AttackTransformDict = AttackTransformd
VAFAD = VAFADict = VAFAd
FrequencyQuantizeD = FrequencyQuantizeDict = FrequencyQuantized
RandFrequencyQuantizeD = RandFrequencyQuantizeDict = RandFrequencyQuantized
