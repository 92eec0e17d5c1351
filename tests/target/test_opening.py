# SPDX-License-Identifier: Apache-2.0
"""What is found in a bundle, and what is said when it is not."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from monai.transforms import Invertd

from monai_vafa.target import open_target

from . import zoo


@pytest.fixture
def folder(tmp_path):
    """A bundle to be broken."""
    return zoo.softmax(tmp_path).folder


# ---- choice of configs


def test_inference_comes_first_then_evaluation_then_training(folder):
    def opened():
        target = open_target(folder)
        inverts = any(isinstance(each, Invertd) for each in target.postprocessing.transforms)
        return target.parts.training, inverts

    assert opened() == (False, True)
    (folder / "configs" / "inference.json").unlink()
    assert opened() == (True, True)
    (folder / "configs" / "evaluate.json").unlink()
    assert opened() == (True, False)
    (folder / "configs" / "train.json").unlink()
    with pytest.raises(ValueError, match=r"no config inference or train, but .'metadata', 'multi_gpu_train'"):
        open_target(folder)


def test_config_files_are_laid_over_each_other(folder, tmp_path):
    overlay = tmp_path / "overlay.json"
    overlay.write_text(json.dumps({"inferer#roi_size": [8, 8, 8]}))
    assert open_target(folder, config_file=["inference.json", str(overlay)]).roi_size == (8, 8, 8)
    assert open_target(folder, config_file="train.json").loss is not None


def test_wrong_choices_of_configs_are_refused(folder):
    with pytest.raises(ValueError, match="workflow='infer' must be one of inference, evaluate, train"):
        open_target(folder, workflow="infer")
    with pytest.raises(ValueError, match="both choose configs"):
        open_target(folder, workflow="train", config_file="train.json")
    with pytest.raises(FileNotFoundError, match=r"nosuch\.json"):
        open_target(folder, config_file="nosuch.json")


def test_overrides_are_those_of_the_command_line(folder):
    target = open_target(folder, overrides={"inferer#sw_batch_size": 2})
    assert target.sw_batch_size == 2


# ---- parts


def test_parts_under_other_usual_ids_are_found(folder):
    config = json.loads((folder / "configs" / "inference.json").read_text())
    zoo.change(
        folder,
        "inference",
        net=config["network_def"],
        network_def=None,
        network=None,
        evaluator={**config["evaluator"], "network": "@net", "inferer": config["inferer"]},
        inferer=None,
        lossfn={"_target_": "DiceLoss", "softmax": True},
    )
    target = open_target(folder)
    assert target.roi_size == (16, 12, 8)
    assert target.loss.softmax


def test_parts_can_be_named(folder):
    config = json.loads((folder / "configs" / "inference.json").read_text())
    zoo.change(folder, "inference", mine=config["network_def"], network_def=None, network=None)
    with pytest.raises(ValueError, match=r"has no network: .*network_def, network, net, model.*ids=\{'network'"):
        open_target(folder)
    assert open_target(folder, ids={"network": "mine"}).network is not None
    with pytest.raises(ValueError, match="'preproc', which is not one of the parts network, inferer"):
        open_target(folder, ids={"preproc": "preprocessing"})
    with pytest.raises(ValueError, match="'loss': 'nosuch', but the config"):
        open_target(folder, ids={"loss": "nosuch"})
    with pytest.raises(ValueError, match="id 'inferer' is not a network but SlidingWindowInferer"):
        open_target(folder, ids={"network": "inferer"})


def test_what_a_part_lacks_is_said(folder):
    zoo.change(folder, "inference", network_def={"_target_": "no_such_package.Network"})
    with pytest.raises(ValueError, match=r"its network \(id 'network_def'\) can't be built: .*no_such_package"):
        open_target(folder)


def test_only_what_is_needed_is_built(folder):
    never = "$(_ for _ in ()).throw(AssertionError('built'))"
    zoo.change(folder, "inference", dataset=never, dataloader=never, evaluator=never, handlers=never)
    assert open_target(folder).network is not None


def test_engines_of_a_bundles_own_are_mentioned(folder, caplog):
    open_target(folder)
    assert "predicts with" not in caplog.text
    config = json.loads((folder / "configs" / "inference.json").read_text())
    zoo.change(folder, "inference", evaluator={**config["evaluator"], "_target_": "scripts.PromptedEvaluator"})
    open_target(folder)
    assert "predicts with scripts.PromptedEvaluator" in caplog.text


# ---- weights


def test_weights_are_those_of_the_configs_loader_wherever_it_is(folder):
    (folder / "models" / "model.pt").rename(folder / "models" / "low_resolution.pt")
    loader = {
        "_target_": "monai.handlers.CheckpointLoader",
        "load_path": "$@bundle_root + '/models/low_resolution.pt'",
        "load_dict": {"model": "@network"},
    }
    zoo.change(folder, "inference", checkpointloader=None, handlers=[loader])
    assert open_target(folder).checkpoint.name == "low_resolution.pt"


def test_loaders_that_resume_or_are_disabled_do_not_count(folder):
    loader = {"_target_": "CheckpointLoader", "load_path": "/elsewhere/last.pt", "load_dict": {"model": "@network"}}
    resume = {**loader, "load_dict": {"model": "@network", "optimizer": "@optimizer"}}
    off = {**loader, "_disabled_": "$not os.path.exists('/elsewhere/last.pt')"}
    zoo.change(folder, "inference", checkpointloader=None, handlers=[resume, off, {**loader, "_disabled_": "True"}])
    assert open_target(folder).checkpoint == folder / "models" / "model.pt"


def test_what_a_training_starts_from_is_not_what_it_made(folder):
    loader = {"_target_": "CheckpointLoader", "load_path": "/elsewhere/start.pt", "load_dict": {"model": "@network"}}
    target = open_target(folder, workflow="train", overrides={"train#handlers": [loader]})
    assert target.checkpoint == folder / "models" / "model.pt"


def test_weights_can_be_named_in_the_config_or_outright(folder, tmp_path):
    zoo.change(folder, "inference", checkpointloader=None, ckpt_path="models/other.pt")
    with pytest.raises(FileNotFoundError, match=r"softmax/models/other\.pt' does not exist.*checkpoint"):
        open_target(folder)
    mine = (folder / "models" / "model.pt").rename(tmp_path / "mine.pt")
    assert open_target(folder, checkpoint=mine).checkpoint == mine
    bundle = zoo.own_scripts(tmp_path)
    mine = zoo.write_weights(bundle.folder, file="mine.pt", wrapper="net")
    assert open_target(bundle.folder, checkpoint=mine).checkpoint == mine


def test_weights_of_another_network_are_refused(folder):
    zoo.change(folder, "inference", network_def=zoo.unet(classes=5))
    with pytest.raises(ValueError, match=r"does not fit UNet: .*of another shape: model"):
        open_target(folder)


def test_weights_that_are_code_are_refused(folder):
    torch.save(torch.nn.Conv3d(1, 1, 1), folder / "models" / "model.pt")
    with pytest.raises(ValueError, match="could run code of the file"):
        open_target(folder)


# ---- what is no segmentation


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"type": "probabilities", "format": "classes", "spatial_shape": [1, 4]}, "format 'classes'"),
        ({"type": "image", "format": "labels", "spatial_shape": [1, 4]}, "format 'labels' and shape"),
        ({"type": "object", "format": "dict"}, "can't be attacked as a segmentation"),
        ({"num_channels": 1, "channel_def": {str(n): str(n) for n in range(5)}}, "names 5 output channels"),
    ],
)
def test_networks_that_do_not_segment_are_refused(folder, output, message):
    zoo.change_output(folder, **output)
    with pytest.raises(ValueError, match=message):
        open_target(folder)


def test_bundles_without_a_prediction_are_refused(folder):
    path = folder / "configs" / "metadata.json"
    content = json.loads(path.read_text())
    content["network_data_format"]["outputs"] = {"boxes": {"type": "object"}}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="describes no output 'pred', but boxes"):
        open_target(folder)


@pytest.mark.parametrize("workflow", [None, "inference"])
def test_what_is_not_a_config_is_not_read(workflow, folder):
    (folder / "configs" / "train.md").write_text("how it was trained")
    (folder / "old.py").mkdir()
    assert open_target(folder, workflow=workflow).parameters["bundle_sha256"]


def test_an_inference_does_not_need_the_training(folder):
    (folder / "configs" / "train.json").write_text("{")
    assert open_target(folder, workflow="inference").ignore_label is None


# ---- scripts


def test_each_bundle_has_its_own_scripts(tmp_path):
    one, other = zoo.own_scripts(tmp_path / "one"), zoo.own_scripts(tmp_path / "other")
    script = other.folder / "scripts" / "parts.py"
    script.write_text(script.read_text().replace("softplus", "relu"))
    path = list(sys.path)
    networks = [open_target(bundle.folder, overrides=bundle.overrides).network for bundle in (one, other)]
    image = torch.rand(1, 2, 4, 4, 4)
    assert not torch.allclose(networks[0](image)[0], networks[1](image)[0])
    assert sys.path == path
    assert not [name for name in sys.modules if name.partition(".")[0] == "scripts"]


def test_scripts_of_the_caller_are_neither_used_nor_lost(tmp_path, monkeypatch):
    bundle = zoo.own_scripts(tmp_path)
    monkeypatch.setitem(sys.modules, "scripts", json)
    assert type(open_target(bundle.folder).network).__name__ == "TwoScales"
    assert sys.modules["scripts"] is json


@pytest.mark.parametrize("shared", ["common.yaml", "environment.json"])
def test_configs_that_are_split_are_read_together(shared, tmp_path):
    bundle = zoo.softmax(tmp_path)
    expected = open_target(bundle.folder)
    for name in ("inference", "train"):
        config = json.loads((bundle.folder / "configs" / f"{name}.json").read_text())
        ids = ("imports", "device", "network_def", "network", "ckpt_dir", "images", "labels", "dataset_dir")
        common = {id_: config[id_] for id_ in ids}
        zoo.change(bundle.folder, name, **dict.fromkeys(ids))
    # JSON is YAML.
    (bundle.folder / "configs" / shared).write_text(json.dumps(common))
    target = open_target(bundle.folder)
    assert [path.name for path in target.parts.files] == [shared, "inference.json"]
    assert [path.name for path in open_target(bundle.folder, workflow="train").parts.files] == [shared, "train.json"]
    assert target.cases(bundle.data) == expected.cases(bundle.data)
    assert target.checkpoint == expected.checkpoint


def test_overrides_that_nothing_reads_are_refused(tiny_zoo):
    folder = tiny_zoo["softmax"].folder
    with pytest.raises(ValueError, match=r"overrides sets 'datset_dir', .* no id 'datset_dir'; did you mean 'dataset_"):
        open_target(folder, overrides={"datset_dir": "/data"})
    with pytest.raises(ValueError, match="has no id 'trane'"):
        open_target(folder, overrides={"trane#epochs": 3})
    with pytest.raises(TypeError, match="dataset_dir=20240601 must be text"):
        open_target(folder, overrides={"dataset_dir": 20240601})
    given = {"window": 8, "class_names": ["a", "b", "c"]}
    given["inferer"] = {"_target_": "SlidingWindowInferer", "roi_size": "@window"}
    target = open_target(folder, overrides=given)
    assert (target.class_names, target.inferer.roi_size) == (["a", "b", "c"], 8)
