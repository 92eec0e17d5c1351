# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Attack and harden volumetric segmentation models in the frequency domain."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("monai_vafa")
except PackageNotFoundError:
    __version__ = "0+unknown"
