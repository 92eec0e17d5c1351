# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Ignite handlers for MONAI's engines: attack every batch, and adversarial training in the frequency domain (VAFT)."""

from __future__ import annotations

from .attack import AttackHandler
from .vaft import VAFTHandler, vaft_losses

__all__ = ["AttackHandler", "VAFTHandler", "vaft_losses"]
