# SPDX-License-Identifier: Apache-2.0
"""What a target predicts on clean data is what ``monai.bundle run`` of the bundle saves."""

from __future__ import annotations

import sys

import monai.bundle
import numpy as np
import pytest
import torch
from monai.transforms import LoadImage

from monai_vafa.outputs import as_logits
from monai_vafa.target import open_target


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run configs of a bundle as its README would, but for the folders; gives the files saved."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def run_configs(bundle, *names):
        files = [str(next((bundle.folder / "configs").glob(f"{name}.*"))) for name in names]
        settings = {"bundle_root": str(bundle.folder), "output_dir": str(tmp_path), **bundle.overrides}
        monai.bundle.run(bundle.run_id, config_file=files, logging_file=False, **settings)
        return sorted(tmp_path.glob(bundle.saves))

    yield run_configs
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "scripts":
            del sys.modules[name]


def predict(target, item):
    """As a bundle's evaluator does it."""
    data = target.preprocessing(item)
    with torch.no_grad():
        output = target.inferer(data[target.image_key][None].to(target.device), target.network)
    pred = [each[0] for each in output] if isinstance(output, (list, tuple)) else output[0]
    return target.postprocessing({**data, "pred": pred})["pred"]


def assert_saved(predictions, files):
    assert len(files) == len(predictions) > 0
    for prediction, file in zip(predictions, files, strict=True):
        saved = LoadImage(ensure_channel_first=True)(file)
        scale = 255 if file.suffix == ".png" else 1
        assert saved.unique().numel() > 1, "a map of one class would compare equal to many"
        assert np.array_equal(np.asarray(saved), scale * np.asarray(prediction.cpu()))


def test_prediction_is_that_of_the_bundles_inference(bundle, run):
    target = open_target(bundle.folder, workflow="inference", overrides=bundle.overrides)
    predictions = [predict(target, {"image": item["image"]}) for item in target.cases()]
    assert_saved(predictions, run(bundle, "inference"))


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "yaml_configs"])
def test_prediction_is_that_of_the_bundles_evaluation(name, tiny_zoo, run):
    bundle = tiny_zoo[name]
    target = open_target(bundle.folder, workflow="evaluate", overrides=bundle.overrides)
    predictions = [predict(target, item) for item in target.cases()]
    assert_saved(predictions, run(bundle, "train", "evaluate"))


def test_logits_of_all_resolutions_are_read_as_the_finest(tiny_zoo):
    target = open_target(tiny_zoo["own_scripts"].folder)
    image = torch.rand(1, 2, 8, 6, 4)
    assert as_logits(target.network(image)).shape == (1, 3, 8, 6, 4)


def test_volumes_can_go_through_a_network_of_slices(tiny_zoo):
    target = open_target(tiny_zoo["slices"].folder)
    volume = torch.rand(2, 1, 16, 16, 3)
    assert target.roi_size == (16, 16, 1)
    by_slice = target.inferer(volume, target.network)
    assert torch.allclose(target.network(volume), by_slice, atol=1e-6)
    assert torch.allclose(target.network(volume[..., 1:2]), by_slice[..., 1:2], atol=1e-6)
