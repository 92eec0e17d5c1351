# SPDX-License-Identifier: Apache-2.0
"""Attack and harden volumetric segmentation models in the frequency domain."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

__all__ = [
    "attacks",
    "data",
    "evaluation",
    "frequency",
    "handlers",
    "hardening",
    "losses",
    "metrics",
    "networks",
    "options",
    "outputs",
    "paper",
    "report",
    "results",
    "target",
    "transforms",
]

try:
    __version__ = version("monai_vafa")
except PackageNotFoundError:
    __version__ = "0+unknown"


def __getattr__(name: str) -> ModuleType:
    """Import a subpackage when it is first named, so that configs need no more than ``import monai_vafa``."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
