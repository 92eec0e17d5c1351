# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""An evaluation of 2-D networks on 2-D images."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import Dataset
from monai.inferers import SlidingWindowInferer
from monai.metrics import DiceMetric, HausdorffDistanceMetric, PSNRMetric, SSIMMetric, SurfaceDiceMetric
from monai.transforms import Compose, LoadImaged, Orientationd, ScaleIntensityRange, ScaleIntensityRanged

from monai_vafa.attacks import ProjectedGradientDescent, SliceFrequencyAttack, SlidingWindowAttack
from monai_vafa.attacks import VolumetricFrequencyAttack as VAFA
from monai_vafa.evaluation import AttackEvaluation, AttackRows, Benchmark
from monai_vafa.report import write_report

SHAPE = (32, 24)
KEYS = ["image", "label"]


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class Bright(torch.nn.Module):
    """Calls bright what is bright in the mean of all channels."""

    def forward(self, image):
        gray = image.mean(1, keepdim=True)
        return torch.cat([-gray, gray - 1.0], 1) * 4


@pytest.fixture(params=[1, 2], ids=["one channel", "two channels"])
def channels(request):
    return request.param


@pytest.fixture
def datalist(tmp_path, channels):
    """Two scans, left to right as NIfTI has it, a file for each channel."""
    rng = np.random.default_rng(0)
    affine = np.diag([-0.5, 0.5, 1.0, 1.0])
    items = []
    for i in range(2):
        label = np.zeros(SHAPE, np.uint8)
        label[4 + i : 14, 5:20] = 1
        nib.save(nib.Nifti1Image(label, affine), tmp_path / f"label{i}.nii.gz")
        files = [tmp_path / f"case{i}{'' if c == 0 else '_more'}.nii.gz" for c in range(channels)]
        for file in files:
            image = rng.normal(40, 20, SHAPE) + 160.0 * label
            nib.save(nib.Nifti1Image(image.astype(np.float32), affine), file)
        paths = [str(file) for file in files]
        items.append({"image": paths if channels > 1 else paths[0], "label": str(tmp_path / f"label{i}.nii.gz")})
    return items


def preprocessing(*more):
    steps = [LoadImaged(KEYS, ensure_channel_first=True), *more, ScaleIntensityRanged("image", 0, 255, 0, 1, clip=True)]
    return Compose(steps)


ATTACKS = {
    "vafa_2d": SliceFrequencyAttack(block_size=8, steps=3, q_max=60),
    "pgd": ProjectedGradientDescent(eps=60.0, steps=3),
}


@pytest.fixture
def settings(datalist, tmp_path):
    return {
        "dataset": Dataset(datalist, preprocessing()),
        "network": Bright(),
        "inferer": SlidingWindowInferer((16, 16), overlap=0.5),
        "attacks": ATTACKS,
        "windows": SlidingWindowAttack((16, 16), sw_batch_size=2),
        "segmentation_metrics": {
            "dsc": DiceMetric(reduction="none"),
            "hd95": HausdorffDistanceMetric(include_background=True, percentile=95, reduction="none"),
            "nsd": SurfaceDiceMetric([1.0] * 2, include_background=True, reduction="none"),
        },
        "visibility_metrics": {"ssim": SSIMMetric(2), "psnr": PSNRMetric(1.0)},
        "class_names": ["background", "vessel"],
        "output_dir": tmp_path / "out",
        "to_file_units": ScaleIntensityRange(0, 1, 0, 255),
    }


def test_scores_volumes_and_figures(settings, datalist, channels):
    evaluation = AttackEvaluation(**settings)
    evaluation.run()
    evaluation.raise_if_failed()
    out = settings["output_dir"]
    rows = {row["attack"]: row for row in read(out / "cases.csv") if row["case"] == "case0"}
    assert float(rows["clean"]["dsc"]) > float(rows["pgd"]["dsc"]) + 0.02
    measured = ("hd95", "nsd", "ssim", "psnr", "linf", "rmse")
    assert all(float(rows[attack][column]) > 0 for attack in ATTACKS for column in measured)
    original = nib.load(np.ravel(datalist[0]["image"])[0])
    image, prediction = (nib.load(out / kind / "case0_pgd.nii.gz") for kind in ("adversarial", "predictions"))
    assert prediction.shape == SHAPE
    # behind a depth of 1, as channels on the third axis would be slices
    assert image.shape == (SHAPE if channels == 1 else (*SHAPE, 1, channels))
    assert np.allclose(image.affine, original.affine)
    first = image.get_fdata().reshape(*SHAPE, -1)[..., 0]
    change = first - np.clip(original.get_fdata(), 0, 255)
    assert 10 < np.abs(change).max() <= 60.01
    write_report(out)
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["case0.png", "case1.png"]


def test_transfer_also_to_a_model_with_other_axes(settings, datalist, tmp_path):
    rows = AttackRows(attacks={"vafa_2d": SliceFrequencyAttack}, block_size=8, steps=2, rescale_slices=False)
    seen, evaluations = [], {}

    class Spy(Bright):
        def forward(self, image):
            seen.append(image)
            return super().forward(image)

    turned = preprocessing(Orientationd(KEYS, axcodes="RA", labels=None))
    changes = {"turned": {"dataset": Dataset(datalist, turned)}, "as it is": {"network": Spy()}}
    for model, change in changes.items():
        own = {"attacks": rows.build(), "output_dir": tmp_path / "b" / model, "inferer": SlidingWindowInferer(SHAPE)}
        evaluations[model] = AttackEvaluation(**{**settings, **own, **change})
    benchmark = Benchmark(evaluations=evaluations, rows=rows, output_dir=tmp_path / "b")
    benchmark.run()
    benchmark.raise_if_failed()
    table = read(tmp_path / "b" / "transfer.csv")
    assert len(table) == 4
    assert all(float(row["dsc"]) > 0.95 for row in table)
    # the file of the model that turns images comes back as the other one sees them
    own = evaluations["as it is"].dataset[1]["image"].as_tensor()
    assert seen[-1][0].shape == own.shape
    assert (seen[-1][0] - own).abs().mean() < 0.1 < (seen[-1][0].flip(1) - own).abs().mean()


def test_attack_on_volumes_is_refused_at_once(settings):
    with pytest.raises(ValueError, match="SliceFrequencyAttack also takes images"):
        AttackEvaluation(**{**settings, "attacks": {"vafa": VAFA(block_size=8)}})
