# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Say in plain data what an object was built with, so that runs can be recorded and compared."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["describe", "differences"]


def describe(obj: Any) -> Any:
    """
    Class name and public attributes of an object, nested, as data that JSON can hold.

    Args:
        obj: an attack, inferer, transform, loss, or plain data.
    """
    if isinstance(obj, float) and not math.isfinite(obj):
        return str(obj)  # JSON has no such numbers, and NaN would differ from itself
    if isinstance(obj, (str, int, float, bool, type(None))):
        return obj
    if isinstance(obj, (np.generic, np.ndarray, torch.Tensor)):
        return describe(obj.tolist())
    if isinstance(obj, (torch.device, torch.dtype, np.dtype, os.PathLike)):
        return str(obj)
    if isinstance(obj, (list, tuple)):
        return [describe(item) for item in obj]
    if isinstance(obj, Mapping):
        return {str(key): describe(value) for key, value in obj.items()}
    if isinstance(obj, type) or inspect.isroutine(obj):
        return obj.__qualname__
    attributes = {**getattr(obj, "__dict__", {}), **getattr(obj, "_modules", {})}
    public = {key: describe(attributes[key]) for key in sorted(attributes) if not key.startswith("_")}
    public.pop("training", None)
    return {"class": type(obj).__name__, **public}


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """
    Where two descriptions differ, as lines ``name: old, now new``.

    Args:
        old: what :func:`describe` gave for an earlier run.
        new: what it gives now.
        path: name of the part that is compared.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for i, pair in enumerate(zip(old, new, strict=True)) for line in differences(*pair, f"{path}[{i}]")
        ]
    return [] if old == new else [f"{path}: {old}, now {new}"]
