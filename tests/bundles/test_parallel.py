# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest
import torch

from .runs import BUNDLES

pytestmark = pytest.mark.slow
NAMES = ["unetr_inference", "unetrpp_inference"]


@pytest.fixture
def launch(cache, tmp_path):
    """Run configs in one or more processes."""

    def run(processes, bundle, files, *arguments):
        configs = [str(BUNDLES / bundle / "configs" / file) for file in files]
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        done = subprocess.run(
            [
                sys.executable,
                *(launcher if processes > 1 else []),
                *("-m", "monai.bundle", "run", "--config_file", str(configs), "--bundle_root", str(BUNDLES / bundle)),
                *arguments,
            ],
            cwd=tmp_path,
            env={**os.environ, "MONAI_VAFA_CACHE": str(cache), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    return run


def metrics(folder):
    """What MetricsSaver wrote: the means, and the scores of each case."""
    means = dict(line.split(",") for line in (folder / "metrics.csv").read_text().split())
    with open(folder / "val_dsc_raw.csv", newline="") as file:
        cases = {row.pop("filename"): row for row in csv.DictReader(file)}
    return means, cases


@pytest.mark.parametrize("bundle", NAMES)
def test_evaluation_gives_the_numbers_of_one_process(bundle, launch, tmp_path):
    launch(1, bundle, ["train.json", "evaluate.json"], "--output_dir", str(tmp_path / "one"))
    parallel = ["train.json", "evaluate.json", "multi_gpu_evaluate.json"]
    launch(2, bundle, parallel, "--output_dir", str(tmp_path / "two"))
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len(one[1]) == 3
    assert two[1] == one[1]
    assert float(two[0]["val_dsc"]) == pytest.approx(float(one[0]["val_dsc"]), abs=1e-7)


@pytest.mark.parametrize("bundle", NAMES)
def test_training(bundle, launch, tmp_path):
    cases = "$monai.data.load_decathlon_datalist(@datalist_file, True, '{}')[:{}]"
    shared = ["--ckpt_dir", str(tmp_path / "models"), "--output_dir", str(tmp_path / "eval")]
    shared += ["--validation_data", cases.format("validation", 3)]
    done = launch(
        2,
        bundle,
        ["train.json", "multi_gpu_train.json"],
        *shared,
        *("--training_data", cases.format("training", 4), "--epochs", "1", "--val_interval", "1"),
    )
    # the other rank is silent, and works for the same metric
    assert done.stdout.count("Metrics -- val_dsc") == 1
    assert torch.load(tmp_path / "models" / "last.pt", weights_only=True)["trainer"]["iteration"] == 2
    validated = float(done.stdout.partition("Got new best metric of val_dsc: ")[2].split()[0])
    launch(1, bundle, ["train.json", "evaluate.json"], *shared)
    means, _ = metrics(tmp_path / "eval")
    assert float(means["val_dsc"]) == pytest.approx(validated, abs=1e-4)
