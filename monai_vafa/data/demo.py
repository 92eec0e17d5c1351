# SPDX-License-Identifier: Apache-2.0
"""The demo cohort: virtual subjects made from the MNI152 template, so that everything runs without a download."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.transforms import (
    Compose,
    Rand3DElasticd,
    RandAdjustContrastd,
    RandBiasFieldd,
    RandGaussianNoised,
    ScaleIntensityd,
    SpatialCrop,
    SpatialPad,
)

from monai_vafa.cache import cache_dir

logger = logging.getLogger(__name__)

DEMO_CLASSES = ("background", "CSF", "gray matter", "white matter")
# To be increased when the cohort's bytes change, so that an old cache is not taken for the new cohort.
_VERSION = 1
_SPACING_MM = 2.0
_SPATIAL_SHAPE = (80, 96, 80)
_INTENSITY_MAX = 1000.0
_SEEDS = {"training": range(0, 16), "validation": range(1000, 1003)}


def demo_cohort(root: str | os.PathLike | None = None) -> Path:
    """
    Folder of the demo cohort in Decathlon layout, which is written on first use (a few seconds).

    Virtual subjects are seeded smooth deformations and intensity changes of one real anatomy: the MNI152 2009a T1
    template and its tissue maps, which are part of the ``nilearn`` package. They demonstrate and prove nothing: a model
    that segments them has seen one brain. Validation subjects have seeds of their own. Images are float32,
    80 x 96 x 80 voxels of 2 mm, RAS, intensities in [0, 1000]; labels are uint8, numbers of :data:`DEMO_CLASSES`.

    Args:
        root: folder to write to; ``None`` for the cache of this package (``MONAI_VAFA_CACHE`` moves it).

    Returns:
        the folder, to be used as ``dataset_dir``.

    Raises:
        ModuleNotFoundError: If ``nilearn`` is not installed and the cohort does not exist yet.
    """
    folder = Path(root) if root is not None else cache_dir() / f"demo_cohort_v{_VERSION}"
    if (folder / "dataset.json").is_file():
        return folder
    source = _template()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written elsewhere and moved in one step: a killed run leaves no incomplete cohort, and of two runs that start
    # together the second one finds the result of the first.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".demo_cohort_") as unfinished:
        _write(Path(unfinished), source)
        os.chmod(unfinished, 0o755)
        try:
            os.replace(unfinished, folder)
        except OSError:
            if not (folder / "dataset.json").is_file():
                raise
    logger.info("demo cohort (virtual subjects of one template anatomy) written to %s", folder)
    return folder


def _template() -> dict[str, torch.Tensor]:
    """T1 and tissue fractions of the template at 2 mm, channel-first, cropped around the brain."""
    nilearn = importlib.util.find_spec("nilearn")
    if nilearn is None or nilearn.origin is None:
        raise ModuleNotFoundError("The demo cohort is made from files in the nilearn package: pip install nilearn.")
    folder = Path(nilearn.origin).parent / "datasets" / "data"

    def load(name: str) -> torch.Tensor:
        image = nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
        voxels = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32) / 255)  # type: ignore[attr-defined]
        return torch.nn.functional.avg_pool3d(voxels[None], kernel_size=2)

    t1, gray, white = load("t1"), load("gm"), load("wm")
    brain = (t1 > 0.02).float()
    csf = (brain - gray - white).clamp(min=0)
    inside = brain[0].nonzero()
    middle = (inside.amin(0) + inside.amax(0)) // 2
    fit = Compose([SpatialCrop(middle, _SPATIAL_SHAPE), SpatialPad(_SPATIAL_SHAPE, method="end")])
    return {"image": fit(t1), "tissue": fit(torch.cat([csf, gray, white]))}


def _subject(source: dict[str, torch.Tensor], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One virtual subject: T1 in [0, 1000] and its label map."""
    turn: dict[str, Any] = {"rotate_range": (0.1,) * 3, "scale_range": (0.04,) * 3, "translate_range": (2,) * 3}
    vary = Compose(
        [
            Rand3DElasticd(["image", "tissue"], (6, 8), (150, 300), prob=1.0, padding_mode="zeros", **turn),
            RandAdjustContrastd(keys="image", prob=1.0, gamma=(0.8, 1.25)),
            RandBiasFieldd(keys="image", prob=1.0, coeff_range=(0.0, 0.08)),
            ScaleIntensityd(keys="image", minv=0.0, maxv=0.95),
            RandGaussianNoised(keys="image", prob=1.0, std=0.03),
        ]
    )
    vary.set_random_state(seed)
    varied = vary({k: v.clone() for k, v in source.items()})
    tissue = varied["tissue"].numpy()
    background = 1 - tissue.sum(axis=0, keepdims=True)
    label = np.concatenate([background, tissue]).argmax(axis=0).astype(np.uint8)
    image = varied["image"][0].clamp(0, 1).numpy() * _INTENSITY_MAX
    return image.astype(np.float32), label


def _write(folder: Path, source: dict[str, torch.Tensor]) -> None:
    affine = np.diag([_SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = [-_SPACING_MM * s / 2 for s in _SPATIAL_SHAPE]
    datalist: dict = {
        "name": "monai_vafa demo cohort",
        "description": "virtual subjects of the MNI152 2009a template: one anatomy, for demonstration only",
        "modality": {"0": "T1"},
        "labels": {str(i): name for i, name in enumerate(DEMO_CLASSES)},
    }
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir()
    for section, seeds in _SEEDS.items():
        datalist[section] = []
        for seed in seeds:
            name = f"demo_{seed:04d}.nii.gz"
            image, label = _subject(source, seed)
            nib.save(nib.Nifti1Image(image, affine), folder / "imagesTr" / name)
            nib.save(nib.Nifti1Image(label, affine), folder / "labelsTr" / name)
            datalist[section].append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    (folder / "dataset.json").write_text(json.dumps(datalist, indent=4))
