# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Bundles: where a config lies, and how any segmentation bundle becomes the target of an attack."""

from __future__ import annotations

from .opening import open_target
from .root import bundle_root
from .source import find_bundle
from .target import Target
from .windows import fitting_block_size

__all__ = ["Target", "bundle_root", "find_bundle", "fitting_block_size", "open_target"]
