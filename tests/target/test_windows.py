# SPDX-License-Identifier: Apache-2.0
"""Blocks that fit what a network sees at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.inferers import SimpleInferer, SliceInferer, SlidingWindowInferer

from monai_vafa.target import Target, open_target
from monai_vafa.target.inference import image_window, inferer_window

from . import zoo

EXPECTED = {
    "softmax": ((16, 12, 8), None, [16, 12, 8]),
    "sigmoid": ((16, 16, 16), None, [16, 16, 16]),
    "yaml_configs": ((16, 16, 16), None, [16, 16, 16]),
    "own_scripts": ((16, 16, 16), None, [16, 16, 16]),
    "slices": ((16, 16, 1), 2, [16, 16, 1]),
    "pictures": ((32, 16), None, [32, 16]),
}


def test_facts(bundle):
    target = open_target(bundle.folder)
    window, slice_axis, block = EXPECTED[target.name]
    assert target.window == window
    assert target.slice_axis == slice_axis
    assert target.spatial_dims == len(window)
    assert target.slicewise == (target.name in ("slices", "pictures"))
    assert target.axial
    assert target.block_size(32) == block
    assert target.block_size(8, in_plane=True) == [8, 8]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_as_thin_as_they_are(axis, tmp_path):
    bundle = zoo.slices(tmp_path)
    inferer = {"_target_": "SliceInferer", "roi_size": [16, 12], "spatial_dim": axis}
    zoo.change(bundle.folder, "inference", inferer=inferer)
    target = open_target(bundle.folder)
    assert target.block_size(14) == {0: [1, 14, 12], 1: [14, 1, 12], 2: [14, 12, 1]}[axis]
    assert target.axial == (axis == 2)


def shape(*sides):
    return {"network_data_format": {"inputs": {"image": {"spatial_shape": list(sides)}}}}


@pytest.mark.parametrize(
    ("roi_size", "told", "window"),
    [
        (None, (96, 96, 64), (96, 96, 64)),
        (None, ("16*n", "*", 8), (-1, -1, 8)),
        (None, (), (-1, -1, -1)),
        ((64, 64, -1), (96, 96, 32), (64, 64, 32)),
        (48, (96, 96), (48, 48)),
        # The metadata of a network of images that is asked about volumes.
        ((16, 16, 1), (16, 16), (16, 16, 1)),
    ],
)
def test_inferer_then_metadata(roi_size, told, window):
    assert image_window(roi_size, shape(*told)) == window


def test_metadata_without_inputs():
    for metadata in ({"network_data_format": {}}, {"network_data_format": {"inputs": {"image": None}}}):
        assert image_window(None, metadata) == (-1, -1, -1)
        assert image_window((8, 4), metadata) == (8, 4)


def test_windows_of_inferers():
    assert inferer_window(SimpleInferer()) is None
    assert inferer_window(SlidingWindowInferer(roi_size=[8, -1, 4])) == (8, -1, 4)
    assert inferer_window(SlidingWindowInferer(roi_size=8)) == 8
    assert inferer_window(SliceInferer(roi_size=[8, 4], spatial_dim=0)) == (1, 8, 4)


class Windowed(Target):
    """A target of which only the window is known."""

    parameters = {}  # noqa: RUF012
    slice_axis = None
    cases = preprocess = logits = None

    def __init__(self, window):
        self.window = window


@given(st.lists(st.integers(1, 200), min_size=2, max_size=3), st.integers(3, 64))
def test_blocks_fit_and_are_as_large_as_they_may_be(window, largest):
    for side, block in zip(window, Windowed(window).block_size(largest), strict=True):
        assert block == 1 or 3 <= block <= min(side, largest)
        assert block == min(side, largest) or side < 3
