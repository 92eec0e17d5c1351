# SPDX-License-Identifier: Apache-2.0
"""What a figure of a case paints."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.image import imread

from monai_vafa.report import case_figure

SHAPE = (12, 14, 6)
ALPHA = 0.65


def write(folder, images, predictions):
    for kind, volumes in (("adversarial", images), ("predictions", predictions)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, volume in volumes.items():
            nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / kind / f"c1_{name}.nii.gz")


def painted(path, index):
    """Share of a figure's pixels in a class's colour over black."""
    color = np.array(colormaps["tab10"](index)[:3]) * ALPHA
    return (np.abs(imread(path)[..., :3] - color).max(-1) < 0.01).mean()


def dark(shape=SHAPE):
    """An image black but for one voxel, which sets the range."""
    image = np.zeros(shape, np.float32)
    image[0, 0] = 1
    return image


def classes(big, small, shape=SHAPE):
    """Two classes, one within the other, at the channels asked for."""
    label = np.zeros((*shape, 2), np.uint8)
    label[2:10, 2:12, ..., big] = 1
    label[4:8, 4:9, ..., small] = 1
    return label


@pytest.mark.parametrize(("big", "small"), [(0, 1), (1, 0)])
def test_small_classes_are_painted_over_large_ones_whatever_their_order(tmp_path, big, small):
    label = classes(big, small)
    write(tmp_path, {"clean": dark()}, {"clean": label, "label": label})
    path = case_figure(tmp_path, "c1", ["clean"], ["a", "b"], activation="sigmoid")
    areas = {which: painted(path, 1 + which) for which in (big, small)}  # the first colour is that of no class
    assert areas[big] > areas[small] > 0
    assert areas[big] / areas[small] == pytest.approx((80 - 20) / 20, rel=0.1)
    assert painted(path, 0) == 0


def test_slice_is_chosen_by_any_class_that_changed(tmp_path, monkeypatch):
    """Also by one that lies below another."""
    label = classes(0, 1)
    attacked = label.copy()
    attacked[4:8, 4:9, 4, 0] = 0  # seen nowhere: the small class is painted over it
    volumes = {"clean": label, "vafa": attacked, "label": label}
    write(tmp_path, {"clean": dark(), "vafa": dark()}, volumes)
    titles = []
    monkeypatch.setattr("matplotlib.figure.Figure.suptitle", lambda self, text, **kwargs: titles.append(text))
    case_figure(tmp_path, "c1", ["clean", "vafa"], ["a", "b"], "noise", activation="sigmoid")
    assert titles == ["c1, axial slice 4\nnoise"]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_flat_images(tmp_path, monkeypatch, activation):
    titles = []
    monkeypatch.setattr("matplotlib.figure.Figure.suptitle", lambda self, text, **kwargs: titles.append(text))
    label = classes(0, 1, SHAPE[:2])[:, :, None]
    if activation == "softmax":
        label = label[:, :, 0, 0]
    several_channels = np.stack([dark(SHAPE[:2]), np.ones(SHAPE[:2], np.float32)], -1)[:, :, None]
    write(tmp_path, {"clean": several_channels}, {"clean": label, "label": label})
    path = case_figure(tmp_path, "c1", ["clean"], ["a", "b"], activation=activation)
    assert titles == ["c1"]
    assert painted(path, 1) > 0.01


def test_single_class_by_itself_has_its_own_name(tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.legend", lambda self, handles, **kwargs: names.extend(p.get_label() for p in handles)
    )
    label = classes(0, 1)[..., 0]
    write(tmp_path, {"clean": dark()}, {"clean": label, "label": label})
    path = case_figure(tmp_path, "c1", ["clean"], ["tumour"], activation="sigmoid")
    assert names == ["tumour"]
    assert painted(path, 1) > 0.01
