# SPDX-License-Identifier: Apache-2.0
"""Voxels without a label: named by the user, told by conventions, or refused with the way out."""

from __future__ import annotations

import json
import logging
import re

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_vafa import commands
from monai_vafa.evaluation import evaluate
from monai_vafa.target import open_target

from . import zoo
from .test_labels import with_labels


def with_void(bundle, value):
    """Give all labels a half without a label; returns their folder."""
    for path in (bundle.data / "labelsTr").iterdir():
        file = nib.load(path)
        label = np.asarray(file.dataobj).astype(np.int16)
        label[: len(label) // 2] = value
        nib.save(nib.Nifti1Image(label, file.affine), path)
    return bundle.data


@pytest.fixture
def bundle(tmp_path):
    return zoo.softmax(tmp_path / "zoo")


def test_void_voxels_of_a_bundle_are_held_out_of_its_scores(bundle):
    target = open_target(bundle.folder, ignore_label=255, device="cpu")
    [item, *_] = target.cases(with_void(bundle, 255))
    [clean, attacked] = evaluate(target, {"gn": {}}, [item])
    assert (clean.volumes.label == 255).any()
    counted = clean.volumes.label[0].numpy() != 255
    for result in (clean, attacked):
        said, wanted = result.volumes.prediction[0].numpy()[counted], result.volumes.label[0].numpy()[counted]
        present = [c for c in range(len(target.class_names)) if (wanted == c).any() or (said == c).any()]
        dice = [2 * ((said == c) & (wanted == c)).sum() / ((said == c).sum() + (wanted == c).sum()) for c in present]
        np.testing.assert_allclose(result.scores["dsc"], np.mean(dice), rtol=1e-5)
    assert target.parameters["ignore_label"] == 255


@pytest.mark.parametrize("labels", [{"background": 0, "liver": 1, "tumour": 2, "ignore": 3}, {"0": "x", "3": "ignore"}])
@pytest.mark.parametrize("listed", [False, True])
def test_the_ignore_label_of_nnunet_is_recognised(labels, listed, bundle, caplog):
    caplog.set_level(logging.INFO)
    content = {"labels": labels, "channel_names": {"0": "CT"}, "numTraining": 4, "file_ending": ".nii.gz"}
    if listed:
        case = {"image": "./imagesTr/case0.nii.gz", "label": "./labelsTr/case0.nii.gz"}
        content = {"labels": labels, "training": [case]}
    (with_void(bundle, 3) / "dataset.json").write_text(json.dumps(content))
    target = open_target(bundle.folder, device="cpu")
    assert target.parameters["ignore_label"] is None
    [item, *_] = target.cases(bundle.data)
    assert target.ignore_label == target.parameters["ignore_label"] == 3
    assert len([record for record in caplog.records if "have no label, as" in record.message]) == 1
    told = open_target(bundle.folder, ignore_label=3, device="cpu")
    [one, other] = [next(iter(evaluate(each, {"gn": {}}, [item]))) for each in (target, told)]
    assert one.scores == other.scores
    assert (one.volumes.label == 3).any()
    # What the user says counts.
    other = open_target(bundle.folder, ignore_label=255, device="cpu")
    other.cases(bundle.data)
    assert other.ignore_label == 255


def test_cases_of_the_config_are_recognised_too(bundle):
    (with_void(bundle, 3) / "dataset.json").write_text(json.dumps({"labels": {"ignore": 3}, "numTraining": 4}))
    target = open_target(bundle.folder, overrides=bundle.overrides)
    target.cases()
    assert target.ignore_label == 3


LOSS = {"_target_": "torch.nn.CrossEntropyLoss"}


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"loss": {**LOSS, "ignore_index": 255}}, 255),
        ({"loss": {**LOSS, "ignore_index": "@void"}, "void": -1}, -1),
        ({"ignore_label": 255}, 255),
        ({"val_metric": {"_target_": "own.Metric", "ignore_index": -1}}, -1),
        # No mark of voxels without a label: a class that a metric leaves out.
        ({"loss": {**LOSS, "ignore_index": 0}}, None),
        ({"loss": {"_target_": "DiceLoss", "include_background": False}}, None),
        # Which of the two?
        ({"loss": {**LOSS, "ignore_index": 255}, "other": {**LOSS, "ignore_index": -1}}, None),
    ],
)
@pytest.mark.parametrize("config", ["train", "inference"])
def test_losses_and_metrics_of_the_config_tell(config, ids, expected, bundle, caplog):
    caplog.set_level(logging.INFO)
    zoo.change(bundle.folder, config, **ids)
    target = open_target(bundle.folder)
    assert target.parameters["ignore_label"] == expected
    assert caplog.text.count(f"voxels of labels with {expected} have no label") == (expected is not None)
    assert open_target(bundle.folder, ignore_label=7).ignore_label == 7


@pytest.mark.parametrize("value", [255, -1])
@pytest.mark.parametrize("make", [zoo.softmax, zoo.slices])
def test_labels_of_no_class_are_refused_and_the_way_out_works(make, value, tmp_path, monkeypatch):
    bundle = make(tmp_path / "zoo")
    with_void(bundle, value)
    target = open_target(bundle.folder, device="cpu")
    with pytest.raises(ValueError, match=rf"labelsTr/case0.nii.gz' holds {value}, which is none of the") as raised:
        target.preprocess(target.cases(bundle.data)[0])
    [(option, number)] = re.findall(r"\((--\w+) (-?\d+) on the command line\)", str(raised.value))
    assert (option, number) == ("--ignore_label", str(value))
    monkeypatch.chdir(tmp_path)
    commands.attack(str(bundle.folder), str(bundle.data), output_dir="out", attacks=["gn"], **{option[2:]: int(number)})
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["status"] == "complete"


def test_void_voxels_survive_the_conversion_of_classes(tmp_path):
    bundle = zoo.sigmoid(tmp_path)
    item = with_labels(bundle)[0]
    expected = open_target(bundle.folder).preprocess(item)["label"]
    with_void(bundle, 255)
    with pytest.raises(ValueError, match=r"case0.nii.gz' holds 255, .*--ignore_label 255"):
        open_target(bundle.folder).preprocess(item)
    made = open_target(bundle.folder, ignore_label=255).preprocess(item)["label"]
    void = made == 255
    assert torch.equal(void.any(0), void.all(0))
    assert 0.3 < void.float().mean() < 0.7
    assert torch.equal(made[~void], expected[~void])


def test_void_voxels_survive_a_renumbering_of_classes(bundle):
    load = {"_target_": "LoadImaged", "keys": ["image", "label"], "ensure_channel_first": True}
    renumber = {"_target_": "MapLabelValued", "keys": "label", "orig_labels": [1, 2, 255], "target_labels": [2, 1, 0]}
    steps = {"preprocessing": {"_target_": "Compose", "transforms": [load, renumber]}}
    item = with_labels(bundle)[0]
    expected = open_target(bundle.folder, overrides=steps).preprocess(item)["label"]
    with_void(bundle, 255)
    made = open_target(bundle.folder, overrides=steps, ignore_label=255).preprocess(item)["label"]
    void = made == 255
    assert 0.3 < void.float().mean() < 0.7
    assert torch.equal(made[~void], expected[~void])


def test_masks_of_0_and_255_that_the_bundle_converts_are_labels(tmp_path):
    bundle = zoo.sigmoid(tmp_path)
    item = with_labels(bundle)[0]
    file = nib.load(item["label"])
    mask = 255 * (np.asarray(file.dataobj) > 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, file.affine), item["label"])
    assert open_target(bundle.folder).preprocess(item)["label"].max() <= 1
