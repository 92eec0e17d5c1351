# SPDX-License-Identifier: Apache-2.0
"""How many cases are generated, and that the judge of them judges."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from monai_vafa.attacks import BasicIterative

from .judge import CASES, refused, right_or_refused


def test_the_slow_part_tries_ten_thousand_cases():
    for path in Path(__file__).parent.glob("test_generated_*.py"):
        importlib.import_module(f"{__package__}.{path.stem}")
    assert sum(CASES.values()) >= 10_000


def _badly_worded():
    raise ValueError(f"eps={None:.3f} is too large")


def test_the_judge_finds_what_is_wrong():
    image, network = torch.rand(2, 2), torch.nn.Linear(2, 2)
    assert refused(right_or_refused(lambda: BasicIterative(eps="4"), names=["eps"]))
    for call, said in (
        (lambda: BasicIterative(eps="4"), "names none of"),
        (lambda: torch.zeros(2) + torch.zeros(3), "not one of our errors"),
        (lambda: float("x"), "not one of our errors"),
        (lambda: right_or_refused(_badly_worded, names=["eps"], homes=[Path(__file__)]), "not one of our errors"),
        (lambda: image.add_(1), "have changed"),
        (lambda: network.eval(), "network or the random state"),
        (lambda: torch.rand(1), "network or the random state"),
    ):
        with pytest.raises(AssertionError, match=said):
            right_or_refused(call, image, names=["steps"], network=network)
