# SPDX-License-Identifier: Apache-2.0
"""What a target says of its bundle."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import LoadImage, SaveImaged
from monai.utils import ensure_tuple

from monai_vafa.target import open_target

from . import zoo

BLOBS = ["background", "liver", "tumour"]
EXPECTED = {
    "softmax": {"roi_size": (16, 12, 8), "sw_batch_size": 4, "class_names": BLOBS, "intensity_range": (0, 1)},
    "sigmoid": {
        "activation": "sigmoid",
        "class_names": ["tumour core", "whole tumour", "enhancing tumour"],
        "intensity_range": None,
        "to_file_units": None,
    },
    "yaml_configs": {"roi_size": (16, 16, 16), "class_names": BLOBS, "intensity_range": (0, 1)},
    # A transform of its own comes after the scaling, so nobody knows.
    "own_scripts": {"roi_size": None, "sw_batch_size": 1, "intensity_range": None, "to_file_units": None},
    "slices": {"roi_size": (16, 16, 1), "intensity_range": (0, 1), "to_file_units": None},
    "pictures": {"roi_size": None, "class_names": ["background", "tool"], "intensity_range": (0, 1)},
}


def test_facts(bundle):
    target = open_target(bundle.folder)
    assert target.name == bundle.folder.name
    assert target.folder == bundle.folder
    assert target.image_key == "image"
    assert target.label_key == "label"
    assert target.activation == EXPECTED[target.name].get("activation", "softmax")
    for field, value in EXPECTED[target.name].items():
        assert getattr(target, field) == value, field


def test_parameters_are_plain_and_know_no_folder(tmp_path):
    bundle = zoo.softmax(tmp_path)
    target = open_target(bundle.folder, overrides={**bundle.overrides, "inferer#overlap": 0.25})
    moved = shutil.copytree(bundle.folder, tmp_path / "elsewhere" / "softmax")
    same = open_target(moved, overrides={"dataset_dir": "/other", "inferer#overlap": 0.25})
    assert str(tmp_path) not in json.dumps(target.parameters)
    assert target.parameters == same.parameters
    for change in ({"activation": "sigmoid"}, {"overrides": {"inferer#overlap": 0.5}}, {"workflow": "train"}):
        assert open_target(moved, **change).parameters != target.parameters
    zoo.change(moved, "inference", more=1)
    assert open_target(moved, overrides={**bundle.overrides, "inferer#overlap": 0.25}).parameters != same.parameters


def test_logits_are_those_of_the_inferer(bundle):
    target = open_target(bundle.folder, overrides=bundle.overrides, device="cpu")
    image = target.preprocess({target.image_key: target.cases()[0][target.image_key]})["image"][None]
    logits = target.logits(image)
    assert logits.shape == (1, len(target.class_names), *image.shape[2:])
    assert not logits.requires_grad


def test_class_names_may_be_those_of_the_config(tmp_path):
    folder = zoo.softmax(tmp_path).folder
    assert open_target(folder, overrides={"class_names": ["background", "a", "b"]}).class_names[1:] == ["a", "b"]
    target = open_target(folder, overrides={"class_names": ["background", "a"]})
    with pytest.raises(ValueError, match=r"3 output channels, but softmax names 2 classes \(background, a\)"):
        target.logits(torch.rand(1, 1, 16, 12, 8))


def test_a_network_without_weights_is_as_the_config_makes_it(tmp_path):
    folder = zoo.softmax(tmp_path).folder
    (folder / "models" / "model.pt").unlink()
    target = open_target(folder, checkpoint=False)
    assert target.checkpoint is None
    assert target.parameters["checkpoint_sha256"] is None


def test_network_is_ready(bundle):
    target = open_target(bundle.folder, device="cpu")
    assert not any(module.training for module in target.network.modules())
    assert {parameter.device for parameter in target.network.parameters()} == {target.device}
    content = torch.load(target.checkpoint, weights_only=True)
    state = content.get("net", content)
    own = {name.removeprefix("network."): value for name, value in target.network.state_dict().items()}
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], value) for name, value in state.items())


def test_nothing_is_written(bundle, elsewhere):
    before = sorted(bundle.folder.rglob("*"))
    target = open_target(bundle.folder, overrides=bundle.overrides)
    data = target.preprocess({"image": target.cases()[0]["image"]})
    with torch.no_grad():
        output = target.inferer(data["image"][None], target.network)
    pred = [each[0] for each in output] if isinstance(output, list) else output[0]
    target.postprocessing({**data, "pred": pred})
    assert not any(isinstance(each, SaveImaged) for each in target.postprocessing.transforms)
    assert [path for path in sorted(bundle.folder.rglob("*")) if "__pycache__" not in path.parts] == [
        path for path in before if "__pycache__" not in path.parts
    ]
    assert os.listdir(elsewhere) == []


def test_intensities_go_back_to_the_units_of_the_file(tiny_zoo):
    bundle = tiny_zoo["softmax"]
    target = open_target(bundle.folder, overrides=bundle.overrides)
    image = target.preprocess(target.cases()[0])["image"]
    unscaled = target.preprocessing.transform.transforms[:-1]
    original = {"image": target.cases()[0]["image"]}
    for transform in unscaled:
        original = transform(original)
    assert torch.allclose(target.to_file_units(image), original["image"].clamp(-57, 164), atol=1e-3)


def test_training_configs_give_the_loss_and_the_validations_parts(tiny_zoo):
    bundle = tiny_zoo["softmax"]
    assert open_target(bundle.folder).loss is None
    target = open_target(bundle.folder, workflow="train", overrides=bundle.overrides)
    assert isinstance(target.loss, DiceCELoss)
    assert isinstance(target.inferer, SlidingWindowInferer)
    assert [item["label"] for item in target.cases()] == [
        str(bundle.data / "labelsTr" / f"case{n}.nii.gz") for n in (2, 3)
    ]


def test_cases_are_those_that_the_config_names(bundle):
    target = open_target(bundle.folder, overrides=bundle.overrides)
    files = [path for item in target.cases() for path in ensure_tuple(item["image"])]
    assert len(files) > 0
    assert all(LoadImage()(path).numel() > 0 for path in files)


def test_cases_that_can_not_be_read_say_why(tiny_zoo, caplog):
    target = open_target(tiny_zoo["sigmoid"].folder, overrides={"data_list_file_path": "/no/such/list.json"})
    with pytest.raises(ValueError, match="config names no cases here"):
        target.cases()
    assert "/no/such/list.json" in caplog.text


@pytest.mark.parametrize(
    ("post", "loss", "classes", "activation"),
    [
        ([{"_target_": "Activationsd", "keys": "pred", "softmax": False, "sigmoid": True}], "softmax", 3, "sigmoid"),
        ([{"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}], "softmax", 3, "sigmoid"),
        ([{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}], "sigmoid", 3, "softmax"),
        ([{"_target_": "AsDiscreted", "keys": ["label", "pred"], "argmax": [True, False]}], "sigmoid", 3, "sigmoid"),
        ([], "sigmoid", 3, "sigmoid"),
        ([], "softmax", 3, "softmax"),
        ([], None, 3, "softmax"),
        ([], None, 1, "sigmoid"),
    ],
)
def test_activation_is_told_by_postprocessing_then_loss_then_metadata(tmp_path, post, loss, classes, activation):
    folder = zoo.softmax(tmp_path).folder
    zoo.change(
        folder,
        "inference",
        postprocessing={"_target_": "Compose", "transforms": post},
        loss=loss and {"_target_": "DiceLoss", loss: True},
        network_def={**zoo.unet(classes=classes)},
    )
    zoo.change_output(folder, num_channels=classes, channel_def={str(n): BLOBS[n] for n in range(classes)})
    zoo.write_weights(folder)
    assert open_target(folder).activation == activation


def test_activation_can_be_told(tiny_zoo):
    bundle = tiny_zoo["softmax"]
    target = open_target(bundle.folder, activation="sigmoid")
    assert target.activation == "sigmoid"
    assert target.preprocessing(target.cases(bundle.data)[0])["label"].shape[0] == 3
    with pytest.raises(ValueError, match="activation='tanh'"):
        open_target(bundle.folder, activation="tanh")


def test_values_beyond_one_are_numbers_of_classes(tmp_path):
    folder = zoo.softmax(tmp_path).folder
    zoo.change(folder, "inference", postprocessing={"_target_": "Compose", "transforms": []})
    zoo.change_output(folder, channel_def={"0": "outside", "1": "liver", "2": "tumour"}, value_range=[0, 2])
    assert open_target(folder, workflow="inference").activation == "softmax"
    zoo.change_output(folder, value_range=[0, 1])
    assert open_target(folder, workflow="inference").activation == "sigmoid"


def test_a_channel_alone_is_named_after_its_foreground(tmp_path):
    folder = zoo.softmax(tmp_path).folder
    zoo.change(folder, "inference", network_def=zoo.unet(classes=1))
    zoo.change_output(folder, num_channels=1, channel_def={"0": "background", "1": "liver"})
    zoo.write_weights(folder)
    assert open_target(folder).class_names == ["liver"]


def test_a_folder_may_be_moved(tmp_path):
    bundle = zoo.softmax(tmp_path)
    moved = shutil.move(bundle.folder, tmp_path / "moved")
    assert open_target(moved).checkpoint == moved / "models" / "model.pt"


def test_devices_that_a_config_names_outright_are_replaced(tmp_path):
    folder = zoo.softmax(tmp_path).folder
    inferer = {**zoo.sliding_window([16, 12, 8]), "device": "$torch.device('cuda:0')", "sw_device": "cuda"}
    zoo.change(folder, "inference", device="cuda:0", inferer=inferer)
    target = open_target(folder, device="cpu")
    assert target.inferer.device == torch.device("cpu")
    assert target.inferer.sw_device == "cpu"
    assert target.parts.parser.get_parsed_content("device") == torch.device("cpu")
