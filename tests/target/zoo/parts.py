# SPDX-License-Identifier: Apache-2.0
"""What the configs are made of."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

BOTH = ["image", "label"]


def unet(classes: int, channels: int = 1, spatial_dims: int = 3) -> Config:
    return {
        "_target_": "UNet",
        "spatial_dims": spatial_dims,
        "in_channels": channels,
        "out_channels": classes,
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 1,
        "norm": "batch",
    }


def load(keys: str | list[str]) -> Config:
    return {"_target_": "LoadImaged", "keys": keys, "ensure_channel_first": True}


def orient(keys: str | list[str]) -> Config:
    return {"_target_": "Orientationd", "keys": keys, "axcodes": "RAS", "labels": None}


def space(keys: str | list[str], mode: str | list[str]) -> Config:
    return {"_target_": "Spacingd", "keys": keys, "pixdim": [1.0, 1.2, 1.1], "mode": mode}


def window_of_ct(keys: str | list[str]) -> Config:
    return {
        "_target_": "ScaleIntensityRanged",
        "keys": keys,
        "a_min": -57,
        "a_max": 164,
        "b_min": 0,
        "b_max": 1,
        "clip": True,
    }


def crop(size: list[int]) -> Config:
    return {"_target_": "RandSpatialCropd", "keys": BOTH, "roi_size": size, "random_size": False}


def sliding_window(roi_size: list[int]) -> Config:
    return {"_target_": "SlidingWindowInferer", "roi_size": roi_size, "sw_batch_size": 4, "overlap": 0.5}


def activation(name: str) -> Config:
    return {"_target_": "Activationsd", "keys": "pred", name: True}


def invert(transform: str, orig_keys: str = "image") -> Config:
    return {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": transform,
        "orig_keys": orig_keys,
        "nearest_interp": False,
        "to_tensor": True,
    }


def argmax(keys: str | list[str] = "pred", to_onehot: int | None = None) -> Config:
    flags = True if isinstance(keys, str) else [key == "pred" for key in keys]
    return {"_target_": "AsDiscreted", "keys": keys, "argmax": flags, "to_onehot": to_onehot}


def save() -> Config:
    return {
        "_target_": "SaveImaged",
        "keys": "pred",
        "output_dir": "@output_dir",
        "output_postfix": "trans",
        "output_dtype": "uint8",
        "resample": False,
        "separate_folder": False,
        "print_log": False,
    }


def compose(transforms: list[Config]) -> Config:
    return {"_target_": "Compose", "transforms": transforms}
