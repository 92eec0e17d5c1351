# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_vafa.attacks import QuantizeOnly, RescaleOnly
from monai_vafa.frequency import quantize_image


def test_quantize_only_quantises(network, image):
    assert torch.allclose(QuantizeOnly(q=10, block_size=8)(network, image), quantize_image(image, 10, 8))


def test_rescale_only_stretches_each_axial_slice(network, image):
    adversarial = RescaleOnly()(network, image)
    assert torch.allclose(adversarial.amin((2, 3)), torch.tensor(0.0))
    assert torch.allclose(adversarial.amax((2, 3)), torch.tensor(1.0))


def test_rescale_only_leaves_constant_slices(network, image):
    image[..., 4] = 0.25
    assert torch.equal(RescaleOnly()(network, image)[..., 4], image[..., 4])


def test_impossible_step_is_refused():
    with pytest.raises(ValueError, match="q=0"):
        QuantizeOnly(q=0)
