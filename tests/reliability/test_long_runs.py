# SPDX-License-Identifier: Apache-2.0
"""A thousand attacks and a thousand iterations of a training leave nothing behind: memory, hooks, threads, files."""

from __future__ import annotations

import logging
import os

import pytest

from tests.reliability.processes import call
from tests.reliability.traces import thousand_attacks, thousand_iterations
from tests.target import zoo

pytestmark = pytest.mark.slow
logger = logging.getLogger(__name__)

# What may differ by chance: memory that allocators keep, objects of caches, digits in files.
SLACK = {"memory": 8 << 20, "objects": 100, "last.pt": 1024, "model.pt": 1024, "summary.json": 16}


def test_a_thousand_attacks(tmp_path):
    stays(*call(thousand_attacks, log=tmp_path / "log.txt"))


def test_a_thousand_iterations(tmp_path):
    bundle, out = zoo.softmax(tmp_path / "zoo"), tmp_path / "out"
    stays(*call(thousand_iterations, bundle.folder, bundle.data, out, log=tmp_path / "log.txt"))
    assert sorted(os.listdir(out)) == ["last.pt", "model.pt", "summary.json"]


def stays(before, after):
    """All that a process holds is as it was, but for what may differ by chance."""
    grown = {name: after[name] - before[name] for name in SLACK if name in after}
    logger.info("after %s: %s more", before, grown)
    assert {name: value for name, value in grown.items() if value > SLACK[name]} == {}
    rest = [{name: value for name, value in each.items() if name not in SLACK} for each in (before, after)]
    assert rest[0] == rest[1]
