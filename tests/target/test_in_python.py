# SPDX-License-Identifier: Apache-2.0
"""A few lines of Python, as the README has them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from . import zoo

LINES = """\
from monai.transforms import SaveImage
from monai_vafa.attacks import VolumetricFrequencyAttack
from monai_vafa.target import open_target

target = open_target("spleen_ct_segmentation")  # a folder, or a name in the model zoo
case = target.preprocess(target.cases("data/spleen")[0])
attack = VolumetricFrequencyAttack(block_size=target.block_size(32), intensity_range=target.intensity_range)
image = target.windows(attack, target.network, case["image"][None], case["label"][None])[0]
SaveImage(output_dir="attacked")(target.to_file_units(image))
"""


def test_the_readme_has_these_lines():
    assert LINES in (Path(__file__).parents[2] / "README.md").read_text()


def test_a_bundle_is_attacked_in_five_lines(tmp_path, elsewhere):
    bundle = zoo.softmax(tmp_path)
    bundle.folder.rename(elsewhere / "spleen_ct_segmentation")
    (elsewhere / "data").mkdir()
    bundle.data.rename(elsewhere / "data" / "spleen")
    names = {}
    exec(LINES, names)
    [saved] = [nib.load(path) for path in (elsewhere / "attacked").rglob("*.nii.gz")]
    clean = names["target"].to_file_units(names["case"]["image"])
    values = np.asarray(saved.dataobj)
    assert np.allclose(saved.affine, clean.affine)
    assert values.shape == clean.shape[1:]
    assert -57.01 <= values.min() < 0 < values.max() <= 164.01
    assert 1 < np.abs(values - clean[0].numpy()).mean() < 100
