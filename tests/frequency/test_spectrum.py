# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import scipy.fft
import torch

from monai_vafa.frequency import block_spectrum, quantize_image, spectrum_to_image


def test_spectrum_is_the_cosine_transform_of_each_block_of_gray_values():
    image = torch.rand(1, 1, 8, 4, 4)
    spectrum = block_spectrum(image, 4)
    by_hand = scipy.fft.dctn(image[0, 0, 4:].numpy() * 255 - 128, norm="ortho")
    np.testing.assert_allclose(spectrum[0, 0, 1], by_hand, atol=1e-3)


def test_image_comes_back_from_its_spectrum():
    image = torch.rand(2, 3, 7, 9, 5)
    assert torch.allclose(spectrum_to_image(block_spectrum(image, (4, 3, 5)), (7, 9, 5)), image, atol=1e-5)


def test_an_axis_with_side_1_is_left_alone():
    image = torch.rand(1, 1, 4, 4, 3)
    by_hand = scipy.fft.dctn(image[0, 0, ..., 2].numpy() * 255 - 128, norm="ortho")
    np.testing.assert_allclose(block_spectrum(image, (4, 4, 1))[0, 0, 2, ..., 0], by_hand, atol=1e-3)


def test_quantising_by_1_changes_no_more_than_rounding_does():
    image = torch.rand(1, 1, 16, 16, 16)
    change = (quantize_image(image, 1.0, 8) - image) * 255
    # each coefficient moves by half a gray value at most, and the transform keeps energy
    assert change.square().mean().sqrt() <= 0.5
    assert change.square().mean().sqrt() > 0.2


def test_coarser_steps_change_more():
    image = torch.rand(1, 1, 16, 16, 16)
    errors = [float((quantize_image(image, q, 8) - image).square().mean()) for q in (1.0, 10.0, 40.0)]
    assert errors == sorted(errors)
