# SPDX-License-Identifier: Apache-2.0
"""LPIPS distance of noise confined to one band of in-plane frequency, on a demo subject.

Where the default ``band_weights`` of PerceptualFrequencyAttack come from: the distance, over that of the lowest band,
to the power -0.35. Needs the LPIPS trunk (``python -m monai_vafa fetch_lpips_trunk``).

python tests/benchmarks/band_visibility.py
"""

from __future__ import annotations

import logging

import fire
import torch
from monai.data import load_decathlon_datalist
from monai.transforms import Compose, LoadImage, Orientation, ScaleIntensityRange, Spacing

from monai_vafa.attacks.spectrum import contrast_mask
from monai_vafa.data import demo_cohort
from monai_vafa.frequency import BAND_WIDTH, idct, in_plane_frequency, merge_blocks, split_blocks
from monai_vafa.metrics import LPIPSMetric

logger = logging.getLogger(__name__)

BLOCK = (8, 8, 8)
LOAD = Compose(
    [
        LoadImage(ensure_channel_first=True),
        Orientation("RAS", labels=None),
        Spacing((2.0, 2.0, 2.0)),
        ScaleIntensityRange(0, 1000, 0.0, 1.0, clip=True),
    ]
)


def main(rmse: float = 4.0, contrast_masking: float = 0.4, exponent: float = 0.35) -> None:
    """
    Measure.

    Args:
        rmse: size of the noise in intensity levels (0-255 scale).
        contrast_masking: exponent of the local contrast that the noise follows, as in the attack.
        exponent: how strongly the weights follow the distance.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    subject = load_decathlon_datalist(demo_cohort() / "dataset.json", True, "validation")[0]
    image = LOAD(subject["image"]).as_tensor()[None]
    mask = contrast_mask(image, contrast_masking)
    noise = torch.randn(split_blocks(image, BLOCK).shape, generator=torch.Generator().manual_seed(0))
    band = (in_plane_frequency(BLOCK) / BAND_WIDTH).round()
    lowest = None
    for index in range(10):
        change = mask * merge_blocks(idct(noise * (band == index)), image.shape[2:])
        noisy = (image + rmse / 255 * change / change.square().mean().sqrt()).clamp(0, 1)
        distance = float(LPIPSMetric()(noisy, image))
        lowest = distance if lowest is None else lowest
        logger.info(
            "%.4f cycles per voxel: LPIPS %.5f, weight %.2f",
            index * BAND_WIDTH,
            distance,
            (distance / lowest) ** -exponent,
        )


if __name__ == "__main__":
    fire.Fire(main)
