# SPDX-License-Identifier: Apache-2.0
"""Labels of a target lie on the network's grid and say what the network's channels say."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_vafa.target import open_target

from . import zoo


def with_labels(bundle):
    """Cases as a user has them: files of image and label."""
    names = sorted((bundle.data / "labelsTr").iterdir())
    images = [sorted((bundle.data / "imagesTr").glob(f"{name.name.partition('.')[0]}*")) for name in names]
    return [
        {"image": [str(path) for path in paths] if len(paths) > 1 else str(paths[0]), "label": str(label)}
        for paths, label in zip(images, names, strict=True)
    ]


@pytest.mark.parametrize("name", ["softmax", "yaml_configs"])
def test_inference_configs_give_the_label_that_the_training_sees(name, tiny_zoo):
    bundle = tiny_zoo[name]
    for_inference = open_target(bundle.folder)
    for_training = open_target(bundle.folder, workflow="train")
    for item in with_labels(bundle):
        ours, theirs = for_inference.preprocessing(item), for_training.preprocessing(item)
        assert torch.equal(ours["image"], theirs["image"])
        assert ours["label"].shape == ours["image"].shape
        assert torch.allclose(ours["label"].affine, ours["image"].affine)
        # Both are nearest neighbours; halfway between two voxels either may be the nearer one.
        assert (ours["label"] != theirs["label"]).float().mean() < 0.02
        assert set(ours["label"].unique().tolist()) == {0, 1, 2}


def test_labels_on_a_grid_of_their_own_are_brought_to_the_images(tiny_zoo, tmp_path):
    bundle = tiny_zoo["slices"]
    item = with_labels(bundle)[0]
    label = nib.load(item["label"])
    coarse = nib.Nifti1Image(np.asarray(label.dataobj)[::2, ::2, ::2], label.affine @ np.diag([2, 2, 2, 1]))
    nib.save(coarse, tmp_path / "coarse.nii.gz")
    target = open_target(bundle.folder)
    expected = target.preprocessing(item)["label"]
    found = target.preprocessing({**item, "label": str(tmp_path / "coarse.nii.gz")})["label"]
    assert found.shape == expected.shape
    assert (found == expected).float().mean() > 0.9


def test_a_label_of_the_same_shape_may_lie_elsewhere(tiny_zoo, tmp_path):
    bundle = tiny_zoo["slices"]
    item = with_labels(bundle)[0]
    label = nib.load(item["label"])
    moved = label.affine.copy()
    moved[:3, 3] += label.affine[:3, 0]  # one voxel along the first axis
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj), moved), tmp_path / "moved.nii.gz")
    target = open_target(bundle.folder)
    expected = target.preprocessing(item)["label"]
    found = target.preprocessing({**item, "label": str(tmp_path / "moved.nii.gz")})["label"]
    assert torch.equal(found[:, 1:], expected[:, :-1])


def test_labels_that_a_config_loads_and_leaves_are_made_ready(tmp_path):
    bundle = zoo.softmax(tmp_path)
    item = with_labels(bundle)[0]
    expected = open_target(bundle.folder).preprocessing(item)["label"]
    config = json.loads((bundle.folder / "configs" / "inference.json").read_text())
    steps = config["preprocessing"]["transforms"]
    only_loaded = {"_target_": "LoadImaged", "keys": ["label"]}
    zoo.change(bundle.folder, "inference", preprocessing={"_target_": "Compose", "transforms": [only_loaded, *steps]})
    assert torch.equal(open_target(bundle.folder).preprocessing(item)["label"], expected)


def test_labels_that_an_overlay_crops_and_nobody_loads_follow_the_image(tmp_path):
    bundle = zoo.softmax(tmp_path)
    item = with_labels(bundle)[0]
    whole = open_target(bundle.folder).preprocess(item)
    crop = {"_target_": "CropForegroundd", "keys": ["image", "label"], "source_key": "image"}
    overlay = {"+preprocessing#transforms": [{**crop, "allow_missing_keys": True}]}
    (tmp_path / "overlay.json").write_text(json.dumps(overlay))
    made = open_target(bundle.folder, config_file=["inference.json", str(tmp_path / "overlay.json")]).preprocess(item)
    assert made["label"].shape == made["image"].shape
    assert made["image"].numel() < whole["image"].numel()
    assert (made["label"] > 0).sum() == (whole["label"] > 0).sum()


def test_images_may_have_another_key(tmp_path):
    bundle = zoo.slices(tmp_path)
    config = bundle.folder / "configs" / "inference.json"
    config.write_text(config.read_text().replace('"keys": "image"', '"keys": "scan"'))
    item = with_labels(bundle)[0]
    target = open_target(bundle.folder)
    assert target.image_key == "scan"
    assert target.preprocessing({"scan": item["image"]})["scan"].shape == (1, 22, 18, 20)


def test_keys_that_a_config_names_are_used(tmp_path):
    bundle = zoo.slices(tmp_path)
    config = bundle.folder / "configs" / "inference.json"
    config.write_text(config.read_text().replace('"keys": "image"', '"keys": ["scan", "contour"]'))
    zoo.change(bundle.folder, "inference", image_key="scan", label_key="truth")
    item = with_labels(bundle)[0]
    target = open_target(bundle.folder)
    data = target.preprocessing({"scan": item["image"], "contour": item["label"], "truth": item["label"]})
    assert (target.image_key, target.label_key) == ("scan", "truth")
    assert data["truth"].shape == data["scan"].shape == (1, 22, 18, 20)


def test_the_trainings_conversion_of_classes_is_used(tiny_zoo):
    bundle = tiny_zoo["sigmoid"]
    target = open_target(bundle.folder, workflow="evaluate")
    item = with_labels(bundle)[0]
    classes = np.asarray(nib.load(item["label"]).dataobj)
    label = target.preprocessing(item)["label"].numpy()
    assert label.shape == (3, *classes.shape)
    assert np.array_equal(label[0], (classes == 1) | (classes == 4))
    assert np.array_equal(label[1], classes > 0)
    assert np.array_equal(label[2], classes == 4)


def test_a_map_of_classes_is_no_label_for_classes_that_overlap(tiny_zoo):
    bundle = tiny_zoo["sigmoid"]
    item = with_labels(bundle)[0]
    with pytest.raises(ValueError, match=r"tumour core, whole tumour.*workflow='evaluate'"):
        open_target(bundle.folder, workflow="inference").preprocessing(item)


def test_configs_that_know_what_a_map_means_are_taken_by_themselves(tmp_path):
    bundle = zoo.sigmoid(tmp_path)
    item = with_labels(bundle)[0]
    expected = open_target(bundle.folder, workflow="evaluate").preprocessing(item)["label"]
    assert torch.equal(open_target(bundle.folder).preprocessing(item)["label"], expected)
    (bundle.folder / "configs" / "evaluate.json").unlink()
    assert torch.equal(open_target(bundle.folder).preprocessing(item)["label"], expected)
    (bundle.folder / "configs" / "train.json").unlink()
    assert open_target(bundle.folder).parts.training is False


def test_a_map_that_has_a_background_is_taken_apart_for_sigmoid(tmp_path):
    bundle = zoo.softmax(tmp_path)
    post = {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]}
    item = with_labels(bundle)[0]
    whole = open_target(bundle.folder).preprocessing(item)["label"]
    zoo.change(bundle.folder, "inference", postprocessing=post)
    apart = open_target(bundle.folder).preprocessing(item)["label"]
    assert apart.shape == (3, *whole.shape[1:])
    assert all(torch.equal(apart[n], (whole[0] == n).float()) for n in range(3))
    # No background among the classes, but a loss that takes maps apart says the same.
    zoo.change_output(bundle.folder, channel_def={"0": "outside", "1": "liver", "2": "tumour"})
    zoo.change(bundle.folder, "inference", loss={"_target_": "DiceLoss", "sigmoid": True, "to_onehot_y": True})
    assert torch.equal(open_target(bundle.folder).preprocessing(item)["label"], apart)


def test_images_of_several_files_come_as_one_list(tiny_zoo):
    bundle = tiny_zoo["own_scripts"]
    target = open_target(bundle.folder, overrides=bundle.overrides)
    item = with_labels(bundle)[0]
    assert target.cases()[0]["image"] == item["image"]
    data = target.preprocessing(item)
    assert data["image"].shape[0] == 2
    assert data["label"].shape[1:] == data["image"].shape[1:]
    with pytest.raises(ValueError, match=r"1 files as 'image', not one per \['arterial', 'venous'\]"):
        target.preprocessing({"image": item["image"][0]})


def test_random_preprocessing_is_refused(tiny_zoo):
    with pytest.raises(ValueError, match=r"preprocessing is random \(RandSpatialCropd\)"):
        open_target(tiny_zoo["softmax"].folder, workflow="train", ids={"preprocessing": "train#preprocessing"})
