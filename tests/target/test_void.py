# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Voxels without a label, as the user of a bundle names them."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from monai_vafa.evaluation import evaluate
from monai_vafa.target import open_target
from tests.target import zoo


def test_void_voxels_of_a_bundle_are_held_out_of_its_scores(tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    target = open_target(bundle.folder, ignore_label=255, device="cpu")
    [item, *_] = target.cases(bundle.data)
    file = nib.load(item["label"])
    label = np.asarray(file.dataobj).astype(np.uint8)
    label[: len(label) // 2] = 255
    nib.save(nib.Nifti1Image(label, file.affine), item["label"])
    [clean, attacked] = evaluate(target, {"gn": {}}, [item])
    assert (clean.volumes.label == 255).any()
    counted = clean.volumes.label[0].numpy() != 255
    for result in (clean, attacked):
        said, wanted = result.volumes.prediction[0].numpy()[counted], result.volumes.label[0].numpy()[counted]
        present = [c for c in range(len(target.class_names)) if (wanted == c).any() or (said == c).any()]
        dice = [2 * ((said == c) & (wanted == c)).sum() / ((said == c).sum() + (wanted == c).sum()) for c in present]
        np.testing.assert_allclose(result.scores["dsc"], np.mean(dice), rtol=1e-5)
    assert target.parameters["ignore_label"] == 255
