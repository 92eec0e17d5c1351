# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs over a whole data set."""

from __future__ import annotations

from .evaluation import AttackEvaluation

__all__ = ["AttackEvaluation"]
