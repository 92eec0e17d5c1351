# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import multiprocessing

import nibabel as nib
import numpy as np
import pytest
from monai.data import load_decathlon_datalist

from monai_vafa.data import DEMO_CLASSES, demo, demo_cohort


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "_SEEDS", {"training": [0, 1], "validation": [1000]})


def test_cohort_is_a_decathlon_data_set(small, tmp_path):
    folder = demo_cohort(tmp_path / "demo")
    datalist = folder / "dataset.json"
    training = load_decathlon_datalist(datalist, True, "training")
    validation = load_decathlon_datalist(datalist, True, "validation")
    assert (len(training), len(validation)) == (2, 1)
    image, label = (nib.load(validation[0][key]) for key in ("image", "label"))
    assert image.shape == label.shape == (80, 96, 80)
    assert np.array_equal(image.affine, label.affine)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert np.allclose(image.header.get_zooms(), 2)
    assert image.get_data_dtype() == np.float32
    assert 0 <= image.get_fdata().min() < image.get_fdata().max() <= 1000
    shares = [(np.asarray(label.dataobj) == c).mean() for c in range(4)]
    assert min(shares) > 0.02
    assert sum(shares) == 1
    content = json.loads(datalist.read_text())
    assert list(content["labels"].values()) == list(DEMO_CLASSES)
    assert "one anatomy" in content["description"]


def test_same_seed_same_subject_other_seed_another(small):
    source = demo._template()
    first, label = demo._subject(source, 0)
    again, _ = demo._subject(source, 0)
    other, other_label = demo._subject(source, 1)
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 10
    assert (label != other_label).mean() > 0.02


def test_written_once(small, tmp_path):
    folder = demo_cohort(tmp_path / "demo")
    before = (folder / "dataset.json").stat().st_mtime_ns
    assert demo_cohort(tmp_path / "demo") == folder
    assert (folder / "dataset.json").stat().st_mtime_ns == before
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def _make(folder):
    demo._SEEDS = {"training": [0], "validation": [1000]}
    demo_cohort(folder)


def test_two_processes_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_make, args=(tmp_path / "demo",)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_failure_leaves_nothing_behind(small, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_subject", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        demo_cohort(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_missing_nilearn_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install nilearn"):
        demo_cohort(tmp_path / "demo")
