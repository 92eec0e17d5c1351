# SPDX-License-Identifier: Apache-2.0
"""An evaluation of 2-D networks on 2-D images."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.metrics import DiceMetric, HausdorffDistanceMetric, PSNRMetric, SSIMMetric, SurfaceDiceMetric
from monai.transforms import Compose, LoadImaged, Orientationd, ScaleIntensityRange, ScaleIntensityRanged

from monai_vafa.attacks import VolumetricFrequencyAttack as VAFA
from monai_vafa.evaluation import AttackEvaluator, Benchmark
from monai_vafa.report import write_report

from .conftest import TinyTarget

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


ATTACKS = {"vafa": {"block_size": 8, "steps": 3, "q_max": 60}, "pgd": {"eps": 60.0, "steps": 3, "restarts": 1}}


def picture_target(**changes):
    settings = {
        "network": Bright(),
        "transform": preprocessing(),
        "class_names": ["background", "vessel"],
        "roi_size": (16, 16),
        "window": (16, 16),
        "sw_batch_size": 2,
        "to_file_units": ScaleIntensityRange(0, 1, 0, 255),
    }
    return TinyTarget(**{**settings, **changes})


@pytest.fixture
def measures():
    return {
        "segmentation_metrics": {
            "dsc": DiceMetric(reduction="none"),
            "hd95": HausdorffDistanceMetric(include_background=True, percentile=95, reduction="none"),
            "nsd": SurfaceDiceMetric([1.0] * 2, include_background=True, reduction="none"),
        },
        "visibility_metrics": {"ssim": SSIMMetric(2), "psnr": PSNRMetric(1.0)},
    }


def test_scores_volumes_and_figures(measures, datalist, channels, tmp_path):
    out = tmp_path / "out"
    evaluator = AttackEvaluator(target=picture_target(), attacks=ATTACKS, cases=datalist, output_dir=out, **measures)
    evaluator.run()
    evaluator.raise_if_failed()
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


def test_transfer_also_to_a_model_with_other_axes(measures, datalist, tmp_path):
    seen = []

    class Spy(Bright):
        def forward(self, image):
            seen.append(image)
            return super().forward(image)

    turned = preprocessing(Orientationd(KEYS, axcodes="RA", labels=None))
    targets = {
        "turned": picture_target(transform=turned, inferer=SlidingWindowInferer(SHAPE)),
        "as it is": picture_target(network=Spy(), inferer=SlidingWindowInferer(SHAPE)),
    }
    attacks = {"vafa": {"block_size": 8, "steps": 2, "rescale_slices": False}}
    cases = dict.fromkeys(targets, datalist)
    benchmark = Benchmark(targets=targets, attacks=attacks, cases=cases, output_dir=tmp_path / "b", **measures)
    benchmark.run()
    benchmark.raise_if_failed()
    table = read(tmp_path / "b" / "transfer.csv")
    assert len(table) == 4
    assert all(float(row["dsc"]) > 0.95 for row in table)
    # the file of the model that turns images comes back as the other one sees them
    own = targets["as it is"].preprocess(datalist[1])["image"].as_tensor()
    assert seen[-1][0].shape == own.shape
    assert (seen[-1][0] - own).abs().mean() < 0.1 < (seen[-1][0].flip(1) - own).abs().mean()


def test_attack_on_volumes_is_refused_at_once(measures, datalist):
    with pytest.raises(ValueError, match="SliceFrequencyAttack also takes images"):
        AttackEvaluator(target=picture_target(), attacks={"vafa": VAFA(block_size=8)}, cases=datalist, **measures)
