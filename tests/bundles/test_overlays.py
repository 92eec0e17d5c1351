# SPDX-License-Identifier: Apache-2.0
"""An overlay that attacks a bundle in its own evaluation, with plain MONAI."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_vafa.outputs import as_logits
from monai_vafa.target import open_target
from tests.target import zoo

from .runs import BUNDLES

ATTACK = BUNDLES / "vafa_attack" / "configs" / "overlay.json"


def content(folder):
    """Hash of every file of a bundle."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def plain_monai(bundle, files, *arguments):
    """As somebody does who stands in the folder of the bundle, as its README says."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str([*map(str, files)])]
    done = subprocess.run(
        [*command, "--dataset_dir", str(bundle.data), *arguments],
        cwd=bundle.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("make", [zoo.softmax, zoo.sigmoid], ids=lambda make: make.__name__)
def test_own_evaluation_under_attack(make, tmp_path):
    bundle = make(tmp_path / "zoo")
    before = content(bundle.folder)
    files = ["configs/train.json", "configs/evaluate.json", ATTACK]
    options = {"activation": make.__name__, "block_size": "8", "steps": "2"}
    words = [word for name, value in options.items() for word in (f"--vafa_attack#{name}", value)]
    plain_monai(bundle, files, *words, "--output_dir", str(tmp_path / "out"))
    assert content(bundle.folder) == before
    target = open_target(bundle.folder, workflow="evaluate", overrides=bundle.overrides)
    saved = sorted((tmp_path / "out").glob("*_trans.nii.gz"))
    assert len(saved) == len(target.cases()) == 2
    for item, path in zip(target.cases(), saved, strict=True):
        data = target.preprocess(item)
        with torch.no_grad():
            pred = as_logits(target.inferer(data["image"][None], target.network))[0]
        clean = np.asarray(target.postprocessing({**data, "pred": pred})["pred"])
        attacked = np.asarray(nib.load(path).dataobj)
        attacked = attacked[None] if attacked.ndim == 3 else np.moveaxis(attacked, -1, 0)
        assert attacked.shape == clean.shape
        assert (attacked != clean).mean() > 0.001
