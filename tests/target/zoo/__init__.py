# SPDX-License-Identifier: Apache-2.0
"""
Tiny bundles in the layout of MONAI's model zoo, with data to run them on.

Each of :data:`ALL` makes a bundle in ``ROOT/NAME`` and its cases beside it, and returns a :class:`Bundle`. Configs are
as the zoo writes them: ``bundle_root`` is ``.``, ``dataset_dir`` is a folder of somebody else's machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .files import Bundle, change, change_output, write_weights
from .parts import sliding_window, unet
from .unusual import own_scripts, pictures, slices
from .usual import sigmoid, softmax, yaml_configs

__all__ = [
    "ALL",
    "Bundle",
    "change",
    "change_output",
    "own_scripts",
    "pictures",
    "sigmoid",
    "slices",
    "sliding_window",
    "softmax",
    "unet",
    "write_weights",
    "yaml_configs",
]

ALL: list[Callable[[Path], Bundle]] = [softmax, sigmoid, yaml_configs, own_scripts, slices, pictures]
