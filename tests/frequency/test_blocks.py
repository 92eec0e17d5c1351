# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_vafa.frequency import block_sides, merge_blocks, split_blocks


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=3))
def test_merging_undoes_splitting_whatever_the_sides(axes):
    spatial, block = zip(*axes, strict=True)
    volume = torch.randn(2, 3, *spatial)
    blocks = split_blocks(volume, block)
    assert blocks.shape[3:] == block
    assert torch.equal(merge_blocks(blocks, spatial), volume)


def test_blocks_are_in_row_major_order():
    volume = torch.arange(4 * 6).reshape(1, 1, 4, 6)
    blocks = split_blocks(volume, 2)[0, 0]
    assert torch.equal(blocks[1], volume[0, 0, :2, 2:4])
    assert torch.equal(blocks[3], volume[0, 0, 2:, :2])


def test_missing_voxels_are_filled_with_edge_values():
    volume = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert split_blocks(volume, 2).tolist() == [[[[1, 2], [3, 3]]]]


def test_one_side_serves_all_axes():
    assert block_sides(8, 3) == (8, 8, 8)


@pytest.mark.parametrize("block", [0, (8, 8), (8, 8, -1), (8, 8, 2.5)])
def test_impossible_blocks_are_refused(block):
    with pytest.raises(ValueError, match="block_size"):
        block_sides(block, 3)


def test_blocks_that_do_not_make_up_the_volume_are_refused():
    with pytest.raises(ValueError, match="spatial_shape"):
        merge_blocks(torch.zeros(1, 1, 3, 2, 2), (4, 4))


@pytest.mark.parametrize("block", [10**5, (10**9, 1, 1), (2**23, 1, 1)])
def test_blocks_whose_transform_would_fill_the_memory_are_refused(block):
    with pytest.raises(ValueError, match=r"block_size=.* is far larger than the image"):
        split_blocks(torch.zeros(1, 1, 2, 2, 2), block)
