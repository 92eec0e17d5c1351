# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.metrics import DiceMetric, HausdorffDistanceMetric, PSNRMetric, SurfaceDiceMetric
from monai.transforms import Compose, LoadImaged, ScaleIntensityRange, ScaleIntensityRanged

from monai_vafa.data.paths import file_sha256
from monai_vafa.evaluation import AttackEvaluator, AttackRows, Benchmark
from monai_vafa.outputs import as_logits
from monai_vafa.target import Target

LOW, HIGH = -175.0, 250.0


@dataclass
class TinyTarget(Target):
    """A target that is not a bundle."""

    network: torch.nn.Module
    transform: Any
    class_names: list[str] = field(default_factory=lambda: ["background", "a", "b"])
    activation: str = "softmax"
    intensity_range: tuple[float, float] | None = (0.0, 1.0)
    roi_size: Any = 8
    sw_batch_size: int = 4
    window: tuple[int, ...] = (8, 8, 8)
    slice_axis: int | None = None
    to_file_units: Any = None
    inferer: Any = None
    checkpoint: Path | None = None
    name: str = "tiny"
    description: str = "noise"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    image_key: str = "image"
    label_key: str = "label"

    @property
    def parameters(self):
        return {"checkpoint_sha256": None if self.checkpoint is None else file_sha256(self.checkpoint)}

    def preprocess(self, item):
        return self.transform(dict(item))

    def logits(self, image):
        inferer = self.inferer or SlidingWindowInferer(self.roi_size, overlap=0.5)
        with torch.no_grad():
            return as_logits(inferer(image, self.network))


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


def preprocessing(*keys):
    return Compose(
        [
            LoadImaged(keys, ensure_channel_first=True),
            ScaleIntensityRanged("image", LOW, HIGH, 0.0, 1.0, clip=True),
        ]
    )


@pytest.fixture
def target(network):
    """The small network as a target."""

    def make(**changes):
        units = ScaleIntensityRange(0.0, 1.0, LOW, HIGH)
        settings = {"network": network, "transform": preprocessing("image", "label"), "to_file_units": units}
        return TinyTarget(**{**settings, **changes})

    return make


@pytest.fixture
def metrics():
    """DSC, HD95 and NSD of three classes, and visibility with a metric that can't be measured."""
    return {
        "segmentation_metrics": {
            "dsc": DiceMetric(reduction="none"),
            "hd95": HausdorffDistanceMetric(include_background=True, percentile=95, reduction="none"),
            "nsd": SurfaceDiceMetric([1.0] * 3, include_background=True, reduction="none"),
        },
        "visibility_metrics": {"lpips": None, "psnr": PSNRMetric(1.0)},
    }


@pytest.fixture
def evaluator(datalist, target, metrics, tmp_path):
    """Make an evaluator of the small network on the three cases."""

    def make(**changes):
        of_target = {name: changes.pop(name) for name in [f.name for f in fields(TinyTarget)] if name in changes}
        settings = {
            "target": target(**of_target),
            "attacks": {"quantize_only": {}, "vafa": {"steps": 2, "rescale_slices": False}},
            "cases": datalist,
            "output_dir": tmp_path / "out",
            **metrics,
        }
        return AttackEvaluator(**{**settings, **changes})

    return make


@pytest.fixture
def rows():
    """A control and an attack with one variation."""
    attacks = {"quantize_only": {}, "vafa": {"steps": 2, "rescale_slices": False}}
    return AttackRows(attacks, sweeps={"vafa": {"q_max": [30, 20]}})


@pytest.fixture
def benchmark(target, metrics, rows, datalist, tmp_path):
    """Make a benchmark of two networks on the first two cases."""

    def make(models=("a", "b"), of_targets=None, **changes):
        targets = {}
        for model in models:
            with torch.random.fork_rng():
                torch.manual_seed(ord(model))
                network = torch.nn.Conv3d(1, 3, 3, padding=1)
            targets[model] = target(**{"network": network, **(of_targets or {}).get(model, {})})
        settings = {
            "targets": targets,
            "attacks": rows,
            "cases": dict.fromkeys(models, datalist[:2]),
            "output_dir": tmp_path / "benchmark",
            **metrics,
        }
        return Benchmark(**{**settings, **changes})

    return make
