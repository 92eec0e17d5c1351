# SPDX-License-Identifier: Apache-2.0
"""Maths that half precision would ruin."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_T = TypeVar("_T")


def full_precision(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a function compute in float32 or wider: its tensors of half precision are converted, and autocast is off."""

    @wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        given = (*args, *kwargs.values())
        device = next((value.device.type for value in given if isinstance(value, torch.Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*map(_widened, args), **{name: _widened(value) for name, value in kwargs.items()})

    return wrapped


def _widened(value: Any) -> Any:
    half = isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value
