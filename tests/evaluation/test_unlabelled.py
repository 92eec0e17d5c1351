# SPDX-License-Identifier: Apache-2.0
"""Images without labels: the model's own answer to the clean image stands in."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest

from monai_vafa.attacks import GaussianNoise
from monai_vafa.evaluation.transfer import score_volume
from monai_vafa.report import write_report
from monai_vafa.results.files import read_json

from .conftest import preprocessing

VOLUME, REFERENCE = ("adversarial", "case0", "gn"), ("predictions", "case0", "label")


@pytest.fixture(params=[{}, {"label": None}], ids=["without", "none"])
def unlabelled(request, datalist, evaluator):
    made = evaluator(
        transform=preprocessing("image"),
        cases=[{"image": item["image"], **request.param} for item in datalist[:1]],
        attacks={"gn": GaussianNoise(sigma=64)},
    )
    made.run()
    made.raise_if_failed()
    return made


def test_the_clean_answer_is_the_reference(unlabelled, tmp_path):
    with open(tmp_path / "out" / "cases.csv", newline="") as file:
        dsc = {row["attack"]: float(row["dsc"]) for row in csv.DictReader(file)}
    assert dsc["clean"] == 1
    assert dsc["gn"] < 1
    stored = [
        np.asarray(nib.load(tmp_path / "out" / "predictions" / f"case0_{name}.nii.gz").dataobj)
        for name in ("label", "clean")
    ]
    assert np.array_equal(*stored)


def test_the_report_says_so(unlabelled, tmp_path):
    summary = read_json(tmp_path / "out" / "summary.json")
    assert summary["description"].startswith("noise Without labels (1 of 1 cases)")
    assert summary["unlabelled"] == 1
    write_report(tmp_path / "out")
    assert '<p class="warning">1 of 1 cases have no label' in (tmp_path / "out" / "index.html").read_text()


def test_other_images_are_compared_with_the_clean_answer_too(unlabelled, tmp_path):
    """As transfer does, which must not compare an answer with itself."""
    volume, clean = (unlabelled.results.volume(*name) for name in (VOLUME, REFERENCE))
    score = score_volume(unlabelled, "case0", volume, reference=clean)
    with open(tmp_path / "out" / "cases.csv", newline="") as file:
        [gn] = [float(row["dsc"]) for row in csv.DictReader(file) if row["attack"] == "gn"]
    assert score["dsc"] == pytest.approx(gn, abs=1e-3)
