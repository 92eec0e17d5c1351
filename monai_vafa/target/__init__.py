# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Open any segmentation bundle as the target of an attack."""

from __future__ import annotations

from .bundle import BundleTarget, open_target
from .root import bundle_root
from .source import copy_bundle, find_bundle, shipped_bundles
from .target import Target
from .windows import fitting_block_size

__all__ = [
    "BundleTarget",
    "Target",
    "bundle_root",
    "copy_bundle",
    "find_bundle",
    "fitting_block_size",
    "open_target",
    "shipped_bundles",
]
