# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.losses import SSIMLoss

from monai_vafa.frequency import split_blocks
from monai_vafa.losses import BlockSSIMLoss


def volumes(channels=1, side=16):
    clean = torch.rand(2, channels, side, side, side)
    return clean, (clean + 0.1 * torch.randn_like(clean)).clamp(0, 1)


@pytest.mark.parametrize("channels", [1, 2])
def test_equals_monai_on_each_block(channels):
    clean, changed = volumes(channels)
    blocks = [split_blocks(v, 8).reshape(-1, 1, 8, 8, 8) for v in (changed, clean)]
    expected = SSIMLoss(3, win_size=3, reduction="none")(*blocks).reshape(2, -1).mean(1)
    assert torch.allclose(BlockSSIMLoss(8, reduction="none")(changed, clean), expected, atol=1e-5)


def test_negative_similarity_counts_as_zero_per_block_and_not_per_row():
    clean, changed = torch.rand(2, 4, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = SSIMLoss(3, win_size=3, reduction="none")(changed, clean).flatten(1).mean(1).clamp(max=1)
    assert (expected > 0.9).all()  # about as many negative values as positive ones
    assert torch.allclose(BlockSSIMLoss(8, reduction="none")(changed, clean), expected, atol=1e-5)


def test_slices_equal_monai_in_two_dimensions():
    clean, changed = volumes()
    pair = [split_blocks(v, (8, 8, 1)).reshape(-1, 1, 8, 8) for v in (changed, clean)]
    expected = SSIMLoss(2, win_size=3, reduction="none")(*pair).reshape(2, -1).mean()
    assert torch.allclose(BlockSSIMLoss((8, 8, 1))(changed, clean), expected, atol=1e-5)


def test_identical_volumes_lose_nothing():
    clean, _ = volumes()
    assert BlockSSIMLoss(8)(clean, clean).item() == pytest.approx(0, abs=1e-5)


def test_blocks_of_opposite_structure_count_as_nothing_alike():
    block = torch.rand(1, 1, 8, 8, 8)
    assert BlockSSIMLoss(8)(1 - block, block).item() == 1


def test_gradients():
    clean, changed = (v[:1].double() for v in volumes(side=8))
    loss = BlockSSIMLoss(4)
    assert torch.autograd.gradcheck(lambda x: loss(x, clean), changed.requires_grad_())


@pytest.mark.parametrize("block", [2, (8, 1, 1)])
def test_blocks_too_small_for_the_window_are_refused(block):
    clean, changed = volumes()
    with pytest.raises(ValueError, match="block_size"):
        BlockSSIMLoss(block)(changed, clean)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        BlockSSIMLoss(4)(torch.rand(1, 1, 8, 8, 8), torch.rand(1, 1, 8, 8, 4))
