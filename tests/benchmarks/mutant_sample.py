# SPDX-License-Identifier: Apache-2.0
"""
Write the names of a random sample of the mutants that mutmut has made, for its command line.

    mutmut run none; mutmut run $(python tests/benchmarks/mutant_sample.py 400)
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import fire


def main(number: int, seed: int = 0) -> None:
    """Write ``number`` names."""
    files = Path("mutants", "monai_vafa").rglob("*.meta")
    names = sorted(name for file in files for name in json.loads(file.read_text())["exit_code_by_key"])
    sys.stdout.write("\n".join(random.Random(seed).sample(names, number)) + "\n")


if __name__ == "__main__":
    fire.Fire(main)
