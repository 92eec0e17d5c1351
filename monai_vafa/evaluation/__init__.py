# SPDX-License-Identifier: Apache-2.0
"""Cases under a roster of attacks: typed results, an Ignite engine that writes them, a benchmark of several models."""

from __future__ import annotations

from .benchmark import Benchmark
from .case import AttackScores, Settings, Volumes, attack_case, evaluate
from .evaluator import AttackEvaluator
from .rows import AttackRows, join_sweeps, roster_sweeps
from .scoring import default_segmentation_metrics, default_visibility_metrics

__all__ = [
    "AttackEvaluator",
    "AttackRows",
    "AttackScores",
    "Benchmark",
    "Settings",
    "Volumes",
    "attack_case",
    "default_segmentation_metrics",
    "default_visibility_metrics",
    "evaluate",
    "join_sweeps",
    "roster_sweeps",
]
