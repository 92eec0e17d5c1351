# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import Dataset
from monai.inferers import SlidingWindowInferer
from monai.metrics import DiceMetric, HausdorffDistanceMetric, PSNRMetric, SurfaceDiceMetric
from monai.transforms import Compose, LoadImaged, ScaleIntensityRange, ScaleIntensityRanged

from monai_vafa.attacks import QuantizeOnly, SlidingWindowAttack, VolumetricFrequencyAttack
from monai_vafa.evaluation import AttackEvaluation, AttackRows, Benchmark

LOW, HIGH = -175.0, 250.0


@pytest.fixture
def datalist(tmp_path):
    """Three CT-like cases on disk."""
    rng = np.random.default_rng(0)
    affine = np.diag([1.5, 1.5, 2.0, 1.0])
    items = []
    for i in range(3):
        files = {"image": tmp_path / f"case{i}.nii.gz", "label": tmp_path / f"label{i}.nii.gz"}
        image = rng.uniform(LOW, HIGH, (16, 16, 20)).astype(np.float32)
        label = rng.integers(0, 3, (16, 16, 20)).astype(np.uint8)
        nib.save(nib.Nifti1Image(image, affine), files["image"])
        nib.save(nib.Nifti1Image(label, affine), files["label"])
        items.append({key: str(path) for key, path in files.items()})
    return items


@pytest.fixture
def evaluation(datalist, network, tmp_path):
    """Make an evaluation of the small network on the three cases."""

    def make(**changes):
        preprocessing = Compose(
            [
                LoadImaged(["image", "label"], ensure_channel_first=True),
                ScaleIntensityRanged("image", LOW, HIGH, 0.0, 1.0, clip=True),
            ]
        )
        settings = {
            "dataset": Dataset(datalist, preprocessing),
            "network": network,
            "inferer": SlidingWindowInferer(8, overlap=0.5),
            "attacks": {
                "quantize_only": QuantizeOnly(block_size=8),
                "vafa": VolumetricFrequencyAttack(block_size=8, steps=2, rescale_slices=False),
            },
            "windows": SlidingWindowAttack(8, sw_batch_size=4),
            "segmentation_metrics": {
                "dsc": DiceMetric(reduction="none"),
                "hd95": HausdorffDistanceMetric(include_background=True, percentile=95, reduction="none"),
                "nsd": SurfaceDiceMetric([1.0] * 3, include_background=True, reduction="none"),
            },
            "visibility_metrics": {"lpips": None, "psnr": PSNRMetric(1.0)},
            "class_names": ["background", "a", "b"],
            "output_dir": tmp_path / "out",
            "to_file_units": ScaleIntensityRange(0.0, 1.0, LOW, HIGH),
            "description": "noise",
        }
        return AttackEvaluation(**{**settings, **changes})

    return make


@pytest.fixture
def rows():
    """A control and an attack with one variation."""
    return AttackRows(
        attacks={
            "quantize_only": partial(QuantizeOnly, block_size=8),
            "vafa": partial(VolumetricFrequencyAttack, block_size=8, steps=2, rescale_slices=False),
        },
        sweeps={"vafa": {"q_max": [30, 20]}},
    )


@pytest.fixture
def benchmark(evaluation, rows, datalist, tmp_path):
    """Make a benchmark of two networks on the first two cases."""

    def make(models=("a", "b"), rows=rows, evaluations=None, **changes):
        made = {}
        for model in models:
            with torch.random.fork_rng():
                torch.manual_seed(ord(model))
                network = torch.nn.Conv3d(1, 3, 3, padding=1)
            dataset = evaluation(output_dir=tmp_path / "unused").dataset
            dataset.data = datalist[:2]
            made[model] = evaluation(
                **{
                    "dataset": dataset,
                    "network": network,
                    "attacks": rows.build(),
                    "saved": rows.attacks,
                    "output_dir": tmp_path / "benchmark" / model,
                    **(evaluations or {}).get(model, {}),
                }
            )
        return Benchmark(**{"evaluations": made, "rows": rows, "output_dir": tmp_path / "benchmark", **changes})

    return make
