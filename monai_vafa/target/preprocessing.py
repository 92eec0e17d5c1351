# SPDX-License-Identifier: Apache-2.0
"""The preprocessing of a bundle: what it does to intensities, and labels on the grid of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast

import torch
from monai.data import MetaTensor, get_track_meta, set_track_meta
from monai.transforms import (
    AsDiscrete,
    EnsureTyped,
    Identity,
    LoadImage,
    LoadImaged,
    RandomizableTrait,
    ResampleToMatch,
    ScaleIntensityd,
    ScaleIntensityRange,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    ToTensord,
    Transform,
)
from monai.utils import ensure_tuple

from monai_vafa.data.folder import is_path

from .facts import flat
from .files import check_file, label_loader, use_checked_readers

# NIfTI headers hold affines in float32.
_SAME_PLACE = 1e-3
# Loading, resampling, cropping and reorienting keep intensities within their range and in their units.
_HARMLESS = tuple(f"monai.transforms.{name}.dictionary" for name in ("io", "spatial", "croppad"))
# So do these of the many utilities of MONAI; others apply any function, such as torchvision's Normalize.
_ALSO_HARMLESS = (
    *("EnsureChannelFirstd", "AsChannelLastd", "EnsureTyped", "ToTensord", "ToNumpyd", "ToPILd", "ToDeviced"),
    *("CastToTyped", "Transposed", "SqueezeDimd", "SplitDimd", "ConcatItemsd", "CopyItemsd", "SelectItemsd"),
    *("DeleteItemsd", "FlattenSubKeysd", "Identityd", "DataStatsd", "SimulateDelayd", "FgBgToIndicesd"),
    *("ClassesToIndicesd", "FromMetaTensord", "ToMetaTensord", "ApplyTransformToPointsd"),
)
# What marks voxels without a label by convention.
_VOID = (255, -1)
_AFTER_LOADING = tuple(f"monai.transforms.{name}." for name in ("croppad", "intensity", "spatial"))


class Preprocessing(Transform):
    """
    Turns the files of a case into what the network sees, and a label on the same grid.

    If the bundle's transforms handle labels, image and label go through them together, so that conversions of the
    classes, crops and padding apply to both. Otherwise only the image does, and the label is loaded as it is. A label
    that is then on another grid than the image is resampled to it by nearest neighbour, and takes the shape that
    :mod:`monai_vafa.outputs` expects.

    If classes may ``overlap``, the label needs a channel of 0 and 1 for each; ``maps_tell`` says that a map of class
    numbers can be split into these, number by number.
    """

    def __init__(
        self,
        transform: Callable,
        *,
        image_key: str | None,
        label_key: str,
        class_names: Sequence[str],
        overlap: bool = False,
        maps_tell: bool = False,
    ) -> None:
        self.transform = transform
        self.label_key = label_key
        self.class_names = list(class_names)
        self.one_hot = overlap and len(self.class_names) > 1
        self.maps_tell = maps_tell
        # Stands in for cases without a label, which the transforms of a training may reject.
        self.unlabelled: Preprocessing | None = None
        parts = flat(transform)
        if wrong := [part for part in parts if not callable(part)]:
            raise ValueError(f"bundle: its preprocessing holds {wrong[0]!r}, which is not a transform.")
        if random := ", ".join(type(part).__name__ for part in parts if isinstance(part, RandomizableTrait)):
            raise ValueError(f"preprocessing is random ({random}): name another with ids={{'preprocessing': '...'}}.")
        loaders = [part for part in parts if isinstance(part, LoadImaged)]
        self.loader = loaders[0]._loader if loaders else LoadImage()
        self.label_loader = label_loader()
        for loading in loaders:
            use_checked_readers(loading._loader)
        for part in parts:
            if isinstance(part, (EnsureTyped, ToTensord)):
                # Without its affine an image has no place, and a label can't be brought to it.
                part.converter.track_meta = True
        loaded = list(dict.fromkeys(str(key) for part in loaders for key in part.keys if key != label_key))
        renamed = len(loaded) == 1 and not any("image" in getattr(part, "keys", ()) for part in parts)
        self.image_key = image_key or (loaded[0] if renamed else "image")
        self.file_keys = [self.image_key] if self.image_key in loaded or not loaded else loaded
        self.intensity_range = value_range(parts, [self.image_key, *self.file_keys])
        self.to_file_units = file_units(parts, [self.image_key, *self.file_keys])
        of_label = [part for part in parts if label_key in getattr(part, "keys", ())]
        # Transforms of an overlay may name labels that the config itself does not load.
        self.loads_labels = bool(of_label) and not type(of_label[0]).__module__.startswith(_AFTER_LOADING)
        self.knows_labels = self.loads_labels and any(
            not isinstance(part, LoadImaged) or part._loader.ensure_channel_first for part in of_label
        )

    @property
    def takes_class_maps(self) -> bool:
        """Whether a label that is a map of class numbers can be converted to what the network predicts."""
        return not self.one_hot or self.knows_labels or self.maps_tell

    def __call__(self, item: Mapping[str, Any], *, ignore_label: int | None = None) -> dict[str, Any]:
        """Load image ``(C, *spatial)`` and label ``(1 or classes, *spatial)``, ``ignore_label`` where there is none."""
        path: Any = item.get(self.label_key)
        if self.unlabelled is not None and path is None:
            return self.unlabelled(item)
        data = dict(item)
        if self.file_keys != [self.image_key] and self.image_key in data:
            files = ensure_tuple(data.pop(self.image_key))
            if len(files) != len(self.file_keys):
                raise ValueError(f"item has {len(files)} files as {self.image_key!r}, not one per {self.file_keys}.")
            data.update(zip(self.file_keys, files, strict=True))
        if not self.loads_labels:
            data.pop(self.label_key, None)
        with ExitStack() as stack:
            # Affines are kept, whatever MONAI's global switch says.
            stack.callback(set_track_meta, get_track_meta())
            set_track_meta(True)
            result = self.transform(data)
            image = result[self.image_key]
            if not isinstance(image, MetaTensor):
                raise ValueError(
                    f"the preprocessing makes {type(image).__name__} of {item.get(self.image_key)!r}, which has no "
                    "affine: take out the transform that drops it, with overrides."
                )
            converted = self.knows_labels and self.label_key in result
            if not converted and path is None:
                return result
            label = on_grid_of(image, result[self.label_key] if converted else self.label_loader(path))
            raw = label
            if converted and is_path(path) and (self.one_hot or ignore_label is not None):
                # Conversions of classes know nothing of voxels without one.
                raw = on_grid_of(image, self.label_loader(path))
            if ignore_label is None:
                self._check_void(raw, path, converted)
                return {**result, self.label_key: self._by_class(label, path)}
            void = (raw == ignore_label).all(0, keepdim=True)
            label = self._by_class(label.masked_fill(void, 0), path).float().masked_fill(void, ignore_label)
            return {**result, self.label_key: label}

    def check(self, item: Mapping[str, Any]) -> None:
        """Refuse files that would be misread, by what their headers tell."""
        loads = {self.image_key: self.loader, **dict.fromkeys(self.file_keys, self.loader)}
        loads[self.label_key] = self.loader if self.loads_labels else self.label_loader
        for key, loader in loads.items():
            for path in ensure_tuple(item.get(key, ())):
                if is_path(path):
                    check_file(path, loader)

    def _check_void(self, label: torch.Tensor, path: Any, converted: bool) -> None:
        """Refuse labels with numbers that mark voxels without a label by convention."""
        count = len(self.class_names)
        for value in _VOID:
            if 0 <= value < count or not (label == value).any():
                continue
            # A picture of 0 and 255 is a mask, if the transforms make one of it.
            if not converted or ((label != value) & (label != 0)).any():
                raise ValueError(
                    f"label {str(path)!r} holds {value}, which is none of the {count} classes. If it marks voxels "
                    f"without a label, give ignore_label={value} (--ignore_label {value} on the command line); "
                    "otherwise change it to the number of a class."
                )

    def _by_class(self, label: torch.Tensor, path: Any) -> torch.Tensor:
        """A label as the network's classes are, a map or a channel for each."""
        count = len(self.class_names)
        if not self.one_hot or len(label) != 1:
            return label
        if not self.maps_tell or label.max() >= count:
            raise ValueError(
                f"label {str(path)!r} is a map of class numbers up to {int(label.max())}, but the network predicts "
                f"each of its {count} classes independently ({', '.join(self.class_names)}), and the config doesn't "
                "say which numbers belong to which class. Open the bundle with workflow='evaluate', or give labels "
                "with a channel for each class."
            )
        return cast(torch.Tensor, AsDiscrete(to_onehot=count)(label))


def on_grid_of(image: MetaTensor, label: MetaTensor) -> torch.Tensor:
    """A label as it is if it lies on the grid of an image, else resampled to it by nearest neighbour."""
    same_place = torch.allclose(torch.as_tensor(image.affine), torch.as_tensor(label.affine), atol=_SAME_PLACE)
    if image.shape[1:] == label.shape[1:] and same_place:
        return label
    return ResampleToMatch(mode="nearest", padding_mode="zeros")(label, img_dst=image)


def value_range(transforms: Callable | Sequence[Callable], keys: Sequence[str]) -> tuple[float, float] | None:
    """Lowest and highest intensity that preprocessed images can have, if the last intensity transform tells."""
    changing = _changing(transforms, keys)
    if not changing:
        return None
    scaler: Any = getattr(changing[-1], "scaler", None)
    if isinstance(changing[-1], ScaleIntensityd):
        bounds = (scaler.minv, scaler.maxv)
    elif isinstance(changing[-1], (ScaleIntensityRanged, ScaleIntensityRangePercentilesd)) and scaler.clip:
        bounds = (scaler.b_min, scaler.b_max)
    else:
        return None
    return None if None in bounds else (float(bounds[0]), float(bounds[1]))


def file_units(transforms: Callable | Sequence[Callable], keys: Sequence[str]) -> Callable[..., Any] | None:
    """Conversion of preprocessed images back to intensities of the file; ``None`` if unknown or different for each."""
    changing = _changing(transforms, keys)
    if not changing:
        return Identity()
    scaler: Any = getattr(changing[0], "scaler", None)
    if len(changing) > 1 or not isinstance(changing[0], ScaleIntensityRanged) or None in (scaler.b_min, scaler.b_max):
        return None
    return ScaleIntensityRange(a_min=scaler.b_min, a_max=scaler.b_max, b_min=scaler.a_min, b_max=scaler.a_max)


def _changing(transforms: Callable | Sequence[Callable], keys: Sequence[str]) -> list[Callable]:
    """Transforms that change, or may change, the intensities of the image."""
    return [
        transform
        for transform in flat(transforms)
        if not set(getattr(transform, "keys", keys)).isdisjoint(keys)
        and type(transform).__module__ not in _HARMLESS
        and type(transform).__name__ not in _ALSO_HARMLESS
    ]
