# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""A bundle's preprocessing, with the label brought to the network's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscrete, Compose, LoadImage, LoadImaged, RandomizableTrait, ResampleToMatch, Transform
from monai.utils import ensure_tuple

__all__ = ["Preprocessing", "flat"]

# NIfTI headers hold affines in float32.
_SAME_PLACE = 1e-3


class Preprocessing(Transform):
    """
    Turns a case's files into what the network sees, and a label on the same grid.

    Image and label go through the bundle's transforms where these know labels, so that conversions of the classes,
    crops and padding hit both. Otherwise the image alone does, and the label is loaded as it is. A label that then
    lies on another grid than the image is resampled onto it by nearest neighbour, and takes the shape that
    :mod:`monai_vafa.outputs` asks for.

    Args:
        transform: the bundle's own, of dictionaries.
        image_key: key under which the network's input comes out.
        label_key: key of the label.
        channels: names of the classes when a label shall have a channel of 0 and 1 for each (sigmoid); empty when it
            shall be a map of classes, or is one channel anyway.
        maps_tell: whether a label that is a map of classes may be taken apart into ``channels``, class by class.

    Attributes:
        unlabelled: stands in for items without a label, which transforms of a training may refuse; ``None`` for none.

    Raises:
        ValueError: When the transforms are random, as those of a training are.
    """

    def __init__(
        self,
        transform: Callable,
        *,
        image_key: str,
        label_key: str,
        channels: Sequence[str] = (),
        maps_tell: bool = False,
    ) -> None:
        self.transform = transform
        self.image_key = image_key
        self.label_key = label_key
        self.channels = list(channels)
        self.maps_tell = maps_tell
        self.unlabelled: Preprocessing | None = None
        parts = flat(transform)
        if random := [type(part).__name__ for part in parts if isinstance(part, RandomizableTrait)]:
            raise ValueError(
                f"preprocessing is random ({', '.join(random)}), so it is that of a training; name the validation's "
                "with ids={'preprocessing': '...'}."
            )
        loaders = [part for part in parts if isinstance(part, LoadImaged)]
        loaded = list(dict.fromkeys(str(key) for part in loaders for key in part.keys if key != label_key))
        self.file_keys = [image_key] if image_key in loaded or not loaded else loaded
        self.knows_labels = any(
            label_key in getattr(part, "keys", ())
            and (not isinstance(part, LoadImaged) or part._loader.ensure_channel_first)
            for part in parts
        )

    @property
    def takes_class_maps(self) -> bool:
        """Whether a label that is one map of classes can become what the network answers."""
        return not self.channels or self.knows_labels or self.maps_tell

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """
        Preprocess a case.

        Args:
            item: under ``image_key`` a path, or a list of paths for an image of several files; under ``label_key``
                the path of the label, if there is one.

        Returns:
            ``item`` with the image ``(C, *spatial)``, and the label ``(1 or classes, *spatial)`` on its grid.

        Raises:
            ValueError: When the number of image files is wrong, or the label is a map of classes that doesn't tell
                what belongs into each channel.
        """
        if self.unlabelled is not None and item.get(self.label_key) is None:
            return self.unlabelled(item)
        data = dict(item)
        if self.file_keys != [self.image_key] and self.image_key in data:
            files = ensure_tuple(data.pop(self.image_key))
            if len(files) != len(self.file_keys):
                raise ValueError(
                    f"item has {len(files)} files as {self.image_key!r}; the bundle takes {len(self.file_keys)}: "
                    f"{', '.join(self.file_keys)}."
                )
            data.update(zip(self.file_keys, files, strict=True))
        result = self.transform(data)
        if self.knows_labels and self.label_key in result:
            label = result[self.label_key]
        elif item.get(self.label_key) is not None:
            label = LoadImage(ensure_channel_first=True)(item[self.label_key])
        else:
            return result
        label = _on_grid_of(result[self.image_key], label)
        return {**result, self.label_key: self._by_class(label, item.get(self.label_key))}

    def _by_class(self, label: torch.Tensor, path: Any) -> torch.Tensor:
        if not self.channels or len(label) != 1:
            return label
        count = len(self.channels)
        if not self.maps_tell or label.max() >= count:
            raise ValueError(
                f"label {str(path)!r} is one map of classes up to {int(label.max())}, but the network answers for each "
                f"of its {count} classes by itself ({', '.join(self.channels)}), and the config doesn't say how the "
                "map becomes these. Open the bundle with workflow='evaluate', or give labels with a channel for each."
            )
        return cast(torch.Tensor, AsDiscrete(to_onehot=count)(label))


def flat(transform: Callable | Sequence[Callable] | None) -> list[Callable]:
    """
    Single transforms of a composition, in their order.

    Args:
        transform: one, many, or none.
    """
    if transform is None:
        return []
    if isinstance(transform, Compose):
        return list(transform.flatten().transforms)
    return list(transform) if isinstance(transform, Sequence) else [transform]


def _on_grid_of(image: MetaTensor, label: MetaTensor) -> torch.Tensor:
    same_place = torch.allclose(torch.as_tensor(image.affine), torch.as_tensor(label.affine), atol=_SAME_PLACE)
    if image.shape[1:] == label.shape[1:] and same_place:
        return label
    return ResampleToMatch(mode="nearest", padding_mode="zeros")(label, img_dst=image)
