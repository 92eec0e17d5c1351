# SPDX-License-Identifier: Apache-2.0
"""What tests of the commands share."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess

ATTACKS = {"quantize_only": {}, "rescale_only": {}, "vafa": {"steps": 1}}
QUICK = ("--attacks", str(ATTACKS), "--visibility_metrics", "{}")
HARDEN = ("--epochs", "1", "--val_interval", "1", "--attack_parameters", "{'steps': 1}")
HARDEN = (*HARDEN, "--validation_parameters", "{'steps': 1}")


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
