# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import monai_vafa.data
from monai_vafa.data import demo_cohort

from .runs import BUNDLES


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
def environment(cache, tmp_path_factory) -> dict[str, str]:
    """Environment of a machine that has the demo cohort, but never had the LPIPS trunk."""
    return {
        **os.environ,
        "MONAI_VAFA_CACHE": str(cache),
        "TORCH_HOME": str(tmp_path_factory.mktemp("no_torch_hub")),
        "PYTHONWARNINGS": "ignore",
    }


@pytest.fixture(scope="session")
def bundle_run(environment, tmp_path_factory):
    """Run a config as a user would: in a process of its own, from a folder that has nothing to do with it."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(config: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(BUNDLES / config), *arguments],
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


def two_blocks(first, second, *, shape, classes):
    """An image of noise with two blocks of the higher classes in it, and its label."""
    label = np.zeros(shape, np.uint8)
    label[first], label[second] = classes
    image = np.random.default_rng(0).normal(0, 30, shape) + 60.0 * label - 20
    return image.astype(np.float32), label


@pytest.fixture(scope="session")
def made_up_data(tmp_path_factory):
    """Noise with two blocks in it, under the file names of Synapse and of ACDC."""
    folder = tmp_path_factory.mktemp("made_up")
    image, label = two_blocks(np.s_[8:20, 8:20, 1:7], np.s_[20:34, 16:32, 2:6], shape=(40, 36, 8), classes=(1, 3))
    names = {
        "synapse": [(f"img{n:04d}", f"label{n:04d}") for n in [*range(1, 11), *range(21, 41)]],
        "acdc": [
            (f"patient{n:03d}_frame{frame}", f"patient{n:03d}_frame{frame}_gt")
            for n in range(1, 101)
            for frame in ("01", "12")
        ],
    }
    for dataset, spacing in {"synapse": (-1.0, -1.0, 3.0), "acdc": (-1.4, -1.4, 7.0)}.items():
        (folder / dataset).mkdir()
        for array, index in ((image, 0), (label, 1)):
            affine = np.diag([*spacing, 1.0])
            affine[:3, 3] = 30, 20, -7
            nib.save(nib.Nifti1Image(array, affine), folder / f"{dataset}{index}.nii.gz")
            for pair in names[dataset]:
                (folder / dataset / f"{pair[index]}.nii.gz").symlink_to(folder / f"{dataset}{index}.nii.gz")
    return folder


@pytest.fixture(scope="session")
def hippocampi(tmp_path_factory):
    """One crop with two blocks in it, under the file names of all 200."""
    folder = tmp_path_factory.mktemp("Task04")
    blocks = np.s_[8:20, 8:20, 10:27], np.s_[20:34, 16:32, 12:26]
    image, label = two_blocks(*blocks, shape=(34, 48, 33), classes=(1, 2))
    sets = json.loads((Path(monai_vafa.data.__file__).parent / "public.json").read_text())["hippocampus"]
    names = [f"hippocampus_{n:03d}.nii.gz" for section in ("training", "validation", "test") for n in sets[section]]
    for kind, array in (("imagesTr", image), ("labelsTr", label)):
        (folder / kind).mkdir()
        nib.save(nib.Nifti1Image(array, np.diag([1.0, 1, 1, 1])), folder / f"{kind}.nii.gz")
        for name in names:
            (folder / kind / name).hardlink_to(folder / f"{kind}.nii.gz")
    # As the Decathlon's own: it lists everything as training.
    cases = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    (folder / "dataset.json").write_text(json.dumps({"training": cases, "test": []}))
    return folder
