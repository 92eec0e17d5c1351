# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What tests of the commands share."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess

QUICK = ("--attack#steps", "1", "--visibility_metrics#lpips", "None")
HARDEN = ("--vaft_attack#steps", "1", "--vaft_validation_attack#steps", "1")


def content(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def shell(*words, **environment):
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
