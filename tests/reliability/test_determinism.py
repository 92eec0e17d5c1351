# SPDX-License-Identifier: Apache-2.0
"""Same seed, same machine, same bytes: of an attack, a benchmark and a training, here and in another process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.utils import set_determinism

from .contents import contents
from .repeated_runs import ATTACKS, attack, benchmark, prepare, training

ROOT = Path(__file__).parents[2]
# Of the intensity range: convolutions of a batch of windows and of single ones may round differently.
WINDOWS_APART = 1e-5
# Largest change of a score of cases.csv between them.
SCORES_APART = 1e-3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("root"))


@pytest.fixture(autouse=True)
def random_state():
    """Trainings set the seeds of the whole process."""
    yield
    set_determinism(None)


def disturb():
    """Leave the random state of the process somewhere else."""
    random.seed(9), np.random.seed(9), torch.manual_seed(9)


def same(one, other):
    """Names of what two folders hold, if all of it is the same."""
    one, other = contents(one), contents(other)
    assert sorted(one) == sorted(other)
    differing = [name for name in one if one[name] != other[name]]
    assert not differing
    return set(one)


@pytest.mark.parametrize("make", [attack, benchmark], ids=lambda make: make.__name__)
def test_a_run_repeats_itself(root, tmp_path, make):
    first = make(root, tmp_path / "first")
    disturb()
    names = same(first, make(root, tmp_path / "second"))
    assert "index.html" in names and any(name.endswith("_vafa.nii.gz") for name in names)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_repeats_itself(root, tmp_path, workers):
    first = training(root, tmp_path / "first", workers=workers)
    disturb()
    names = same(first, training(root, tmp_path / "second", workers=workers))
    assert names >= {"losses.json", "model.pt", "last.pt", "summary.json"}


def test_workers_change_nothing_where_transforms_draw_nothing(root, tmp_path):
    """MONAI gives each worker random numbers of its own, so that random transforms do depend on their number."""
    made = [training(root, tmp_path / str(workers), workers=workers, random=False) for workers in (0, 2)]
    one, other = map(contents, made)
    for record in (one["summary.json"], other["summary.json"]):  # the overrides are part of the start
        record.pop("start")
    one.pop("last.pt"), other.pop("last.pt")
    assert one == other


def test_a_run_in_two_parts_is_that_in_one(root, tmp_path):
    whole = attack(root, tmp_path / "whole")
    attack(root, tmp_path / "parts", attacks={"vafa": ATTACKS["vafa"]})
    same(whole, attack(root, tmp_path / "parts"))


def test_another_seed_is_another_run(root, tmp_path):
    first = contents(attack(root, tmp_path / "first", attacks={"gn": {}}))
    second = contents(attack(root, tmp_path / "second", attacks={"gn": {}}, seed=1))
    assert first["adversarial/case0_gn.nii.gz"] != second["adversarial/case0_gn.nii.gz"]


def test_windows_attacked_together_and_alone(root, tmp_path):
    """Any ``sw_batch_size`` gives the same result up to rounding."""
    made = [attack(root, tmp_path / str(size), overrides={"inferer#sw_batch_size": size}) for size in (1, 3, 64)]
    names = [path.relative_to(made[0]) for path in made[0].glob("adversarial/*.nii.gz")]
    assert names
    width = 221  # of the window in CT units
    rows = [contents(folder)["cases.csv"] for folder in made]
    for other, scores in zip(made[1:], rows[1:], strict=True):
        for name in names:
            one, two = (np.asarray(nib.load(folder / name).dataobj) for folder in (made[0], other))
            assert np.abs(one - two).max() / width < WINDOWS_APART, name
        for one, two in zip(rows[0], scores, strict=True):
            for column in ("dsc", "hd95", "nsd", "linf", "rmse"):
                if one.get(column) or two.get(column):
                    assert float(one[column]) == pytest.approx(float(two[column]), abs=SCORES_APART), (one, column)


@pytest.fixture(scope="module")
def processes(root, tmp_path_factory):
    """The folders of two processes with other hash seeds."""
    made_in, made = tmp_path_factory.mktemp("processes"), []
    for seed in ("1", "4294967295"):
        words = [sys.executable, "-m", "tests.reliability.repeated_runs", root, made_in / seed]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        made.append(made_in / seed)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("make", [attack, benchmark, training], ids=lambda make: make.__name__)
def test_another_process_writes_the_same(processes, root, tmp_path, make):
    names = same(*(folder / make.__name__ for folder in processes))
    assert names == same(processes[0] / make.__name__, make(root, tmp_path / "here"))
