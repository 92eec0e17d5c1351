# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monai_vafa.data import demo_cohort

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """A cache of this test session with the demo cohort in it, and nothing else."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["MONAI_VAFA_CACHE"] = str(folder)
    try:
        demo_cohort()
    finally:
        del os.environ["MONAI_VAFA_CACHE"]
    return folder


@pytest.fixture(scope="session")
def bundle_run(cache, tmp_path_factory):
    """Run a config as a user would: in a process of its own, from a folder that has nothing to do with it."""

    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(config: str, *arguments: str, check: bool = True, command: str = "run") -> subprocess.CompletedProcess:
        environment = {
            **os.environ,
            "MONAI_VAFA_CACHE": str(cache),
            "TORCH_HOME": str(elsewhere / "no_torch_hub"),
            "PYTHONWARNINGS": "ignore",
        }
        done = subprocess.run(
            [sys.executable, "-m", "monai.bundle", command, "--config_file", str(BUNDLES / config), *arguments],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{config} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    return run
