# SPDX-License-Identifier: Apache-2.0
"""Data lists: the demo cohort, Synapse, ACDC, hippocampus, any folder."""

from __future__ import annotations

from .demo import DEMO_CLASSES, demo_cohort
from .folder import folder_cases
from .public import (
    ACDC_CLASSES,
    HIPPOCAMPUS_CLASSES,
    SYNAPSE_CLASSES,
    acdc_datalist,
    hippocampus_datalist,
    synapse_datalist,
)

__all__ = [
    "ACDC_CLASSES",
    "DEMO_CLASSES",
    "HIPPOCAMPUS_CLASSES",
    "SYNAPSE_CLASSES",
    "acdc_datalist",
    "demo_cohort",
    "folder_cases",
    "hippocampus_datalist",
    "synapse_datalist",
]
