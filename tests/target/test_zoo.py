# SPDX-License-Identifier: Apache-2.0
"""The tiny bundles train as those of the zoo do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_vafa.target import open_target

from . import zoo


@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid, zoo.yaml_configs])
def test_training_leaves_weights_that_open(make, tmp_path):
    bundle = make(tmp_path)
    weights = bundle.folder / "models" / "model.pt"
    before = weights.read_bytes()
    [config] = (bundle.folder / "configs").glob("train.*")
    workflow = ConfigWorkflow(
        str(config), logging_file=False, workflow_type="train", bundle_root=str(bundle.folder), **bundle.overrides
    )
    workflow.initialize()
    workflow.run()
    assert weights.read_bytes() != before
    network = open_target(bundle.folder).network
    trained = workflow.network_def.state_dict()
    assert all(torch.equal(trained[name], value) for name, value in network.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid])
def test_training_runs_in_two_processes(make, tmp_path):
    bundle = make(tmp_path)
    weights = bundle.folder / "models" / "model.pt"
    before = weights.read_bytes()
    files = "['configs/train.json','configs/multi_gpu_train.json']"
    command = f"-m monai.bundle run --config_file {files} --dataset_dir {bundle.data}"
    done = subprocess.run(
        [sys.executable, *f"-m torch.distributed.run --standalone --nproc_per_node=2 {command}".split()],
        cwd=bundle.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert weights.read_bytes() != before
