# SPDX-License-Identifier: Apache-2.0
"""Open any segmentation bundle as the target of an attack."""

from __future__ import annotations

from .bundle import BundleTarget
from .opening import open_target
from .source import copy_bundle, find_bundle, shipped_bundles
from .target import Target

__all__ = ["BundleTarget", "Target", "copy_bundle", "find_bundle", "open_target", "shipped_bundles"]
