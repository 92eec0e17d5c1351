# SPDX-License-Identifier: Apache-2.0
"""Voxels without a label are left out of scores; foreign code changes nobody's volumes; aims must make sense."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_vafa.attacks import BasicIterative, EraseClass
from monai_vafa.evaluation import evaluate


def dice(x, y, kept):
    return [
        2 * ((x == c) & (y == c) & kept).sum() / (((x == c) & kept).sum() + ((y == c) & kept).sum()) for c in (0, 1, 2)
    ]


@pytest.mark.parametrize("ignore_label", [255, 7])
def test_void_voxels_are_left_out_of_scores(target, datalist, metrics, ignore_label):
    path = datalist[0]["label"]
    loaded = nib.load(path)
    label = np.asarray(loaded.dataobj).astype(np.uint8)
    label[:6] = ignore_label
    nib.save(nib.Nifti1Image(label, loaded.affine), path)
    tiny = target()
    with pytest.raises(ValueError, match="label holds"):
        list(evaluate(tiny, {"bim": BasicIterative(steps=2)}, datalist[:1], **metrics))
    tiny.ignore_label = ignore_label
    clean = None
    for result in evaluate(tiny, {"bim": BasicIterative(steps=2)}, datalist[:1], **metrics):
        prediction, counted = result.volumes.prediction[0].numpy(), label != ignore_label
        clean = prediction if clean is None else clean
        assert result.changed_voxel_rate == pytest.approx((prediction != clean)[counted].mean())
        expected = dice(prediction, label, counted)
        got = [result.per_class[name]["dsc"] for name in tiny.class_names]
        assert got == pytest.approx(expected, abs=1e-5)


def test_a_network_that_works_in_place_does_not_change_the_case(target, datalist, metrics, network):
    class InPlace(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x.mul_(0.5))

    attack = {"bim": BasicIterative(eps=8, steps=5)}
    clean, attacked = evaluate(target(network=InPlace()), attack, datalist[:1], **metrics)
    assert attacked.visibility["linf"] == pytest.approx(8, abs=1e-3)
    assert torch.equal(clean.volumes.image, attacked.volumes.image)


def test_aims_that_no_class_of_the_network_fits_are_refused(target, datalist, metrics):
    attack = {"bim": BasicIterative(steps=2, targeted=True)}
    with pytest.raises(ValueError, match="EraseClass names class 9, but the network knows 0 to 2"):
        list(evaluate(target(), attack, datalist[:1], aim=EraseClass(9), **metrics))
    assert len(list(evaluate(target(), attack, datalist[:1], aim=EraseClass(2), **metrics))) == 2
