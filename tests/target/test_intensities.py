# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.transforms import (
    Lambdad,
    NormalizeIntensityd,
    Orientationd,
    ScaleIntensityd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    SpatialPadd,
    TorchVisiond,
)

from monai_vafa.target.preprocessing import file_units, value_range


def ct(clip=True, b_min=0, b_max=1):
    return ScaleIntensityRanged("image", -100, 300, b_min, b_max, clip=clip)


PERCENTILES = ScaleIntensityRangePercentilesd("image", 1, 99, -1, 1, clip=True)
LAMBDA = Lambdad("image", torch.sqrt)
PAD, TURN = SpatialPadd("image", 8), Orientationd("image", "RAS", labels=None)
NORMALIZE = TorchVisiond("image", "Normalize", mean=[0.485], std=[0.229])
OF_LABEL = Lambdad("label", torch.sign)


@pytest.mark.parametrize(
    ("transforms", "bounds"),
    [
        ([TURN, ct(), PAD], (0, 1)),
        ([ct(clip=False)], None),
        ([ct(b_min=None, b_max=None)], None),
        ([ct(), LAMBDA], None),
        ([LAMBDA, ct(), OF_LABEL], (0, 1)),
        ([NormalizeIntensityd("image"), ScaleIntensityd("image", -1, 1)], (-1, 1)),
        ([ScaleIntensityd("image"), NormalizeIntensityd("image")], None),
        ([PERCENTILES], (-1, 1)),
        ([TURN], None),
        ([ct(), NORMALIZE], None),
    ],
)
def test_range_is_what_the_last_transform_of_intensities_makes(transforms, bounds):
    assert value_range(transforms, ["image"]) == bounds


@pytest.mark.parametrize(
    "transforms",
    [
        [PERCENTILES],
        [NORMALIZE],
        [TURN, ct(), NORMALIZE],
        [NormalizeIntensityd("image")],
        [LAMBDA, ct()],
        [ct(), ct()],
        [ct(b_min=None, b_max=None)],
    ],
)
def test_no_way_back_is_guessed(transforms):
    assert file_units(transforms, ["image"]) is None


@pytest.mark.parametrize("transforms", [[TURN, ct(), PAD], [ct(clip=False, b_min=-1)], [TURN, OF_LABEL]])
def test_way_back(transforms):
    image = torch.linspace(-100, 300, 27).reshape(1, 3, 3, 3)
    scaled = image
    for transform in transforms:
        if isinstance(transform, ScaleIntensityRanged):
            scaled = transform({"image": image})["image"]
    assert torch.allclose(file_units(transforms, ["image"])(scaled), image, atol=1e-3)
