# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Any attack as a transform, for arrays and for the items of a dictionary."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.transforms.traits import RandomizableTrait
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

from monai_vafa.attacks import Attack, SlidingWindowAttack

__all__ = ["AttackTransform", "AttackTransformD", "AttackTransformDict", "AttackTransformd"]


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


AttackTransformD = AttackTransformDict = AttackTransformd
