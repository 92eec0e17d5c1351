# SPDX-License-Identifier: Apache-2.0
"""Networks and their checkpoints."""

from __future__ import annotations

from .checkpoint import convert_checkpoint, load_checkpoint
from .unetrpp import UNETRPP

__all__ = ["UNETRPP", "convert_checkpoint", "load_checkpoint"]
