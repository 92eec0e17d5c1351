# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs over a whole data set."""

from __future__ import annotations

from .benchmark import Benchmark
from .evaluation import AttackEvaluation
from .rows import AttackRows, join_sweeps

__all__ = ["AttackEvaluation", "AttackRows", "Benchmark", "join_sweeps"]
