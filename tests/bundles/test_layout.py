# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from monai.bundle import ConfigWorkflow, verify_metadata

from monai_vafa.networks import load_checkpoint

from .runs import BUNDLES, tiny_network

CONFIGS = [
    ("unetr_inference", "train.json", "train"),
    ("unetr_inference", "inference.json", "infer"),
    ("unetrpp_inference", "train.json", "train"),
    ("unetrpp_inference", "inference.json", "infer"),
    ("hippocampus_segmentation", "train.json", "train"),
    ("hippocampus_segmentation", "inference.json", "infer"),
    ("vafa_attack", "attack.json", "infer"),
    ("vaft_training", "train.json", "train"),
]
NAMES = sorted({name for name, _, _ in CONFIGS})

# Our own reading of the MONAI bundle specification: the published schema is a download, and tests run offline.
_IMAGE = {
    "type": "object",
    "required": [
        "type",
        "format",
        "num_channels",
        "spatial_shape",
        "dtype",
        "value_range",
        "is_patch_data",
        "channel_def",
    ],
    "properties": {
        "type": {"const": "image"},
        "format": {"type": "string"},
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "minItems": 3, "maxItems": 3},
        "dtype": {"const": "float32"},
        "value_range": {"type": "array"},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
}
_TEXTS = ["version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors", "copyright"]
SCHEMA = {
    "type": "object",
    "required": ["schema", *_TEXTS, "changelog", "required_packages_version", "network_data_format"],
    "properties": {
        **{text: {"type": "string", "minLength": 1} for text in _TEXTS},
        "changelog": {"type": "object", "minProperties": 1},
        "required_packages_version": {"type": "object"},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {
                "inputs": {"type": "object", "required": ["image"], "properties": {"image": _IMAGE}},
                "outputs": {"type": "object", "required": ["pred"], "properties": {"pred": _IMAGE}},
            },
        },
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_metadata(name, tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    verify_metadata(meta_file=str(BUNDLES / name / "configs" / "metadata.json"), filepath=str(tmp_path / "schema.json"))


@pytest.mark.parametrize("name", NAMES)
def test_layout_of_the_model_zoo(name):
    for file in ("LICENSE", "configs/metadata.json", "configs/logging.conf", "docs/README.md"):
        assert (BUNDLES / name / file).stat().st_size > 0
    metadata = json.loads((BUNDLES / name / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]


@pytest.fixture(params=CONFIGS, ids=lambda config: "/".join(config[:2]))
def workflow(request, cache, hippocampi, monkeypatch, tmp_path):
    """Each config, initialized from within its bundle, as in the zoo."""
    name, file, workflow_type = request.param
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(BUNDLES / name)
    folders = {"output_dir": str(tmp_path / "out")} | ({"ckpt_dir": str(tmp_path)} if workflow_type == "train" else {})
    if name == "hippocampus_segmentation":
        folders["dataset_dir"] = str(hippocampi)
    path = str(BUNDLES / name / "configs" / file)
    workflow = ConfigWorkflow(path, workflow_type=workflow_type, logging_file=False, **folders)
    workflow.initialize()
    return workflow


def test_properties(workflow):
    assert workflow.check_properties() == []
    assert workflow.bundle_root == "."


def test_configs_of_a_bundle_agree_on_the_network(workflow):
    name = workflow.config_root_path.parent.name
    if name.endswith(("_inference", "_segmentation")):
        load_checkpoint(workflow.network_def, BUNDLES / name / "models" / "model.pt")
        assert workflow.spatial_shape == workflow.parser.get_parsed_content("roi_size")


RUNS = {
    "unetr_inference": ("inference.json", ("--images", "$[@validation_data[0]['image']]"), "eval/*_pred.nii.gz"),
    "vafa_attack": ("attack.json", ("--cases", "$@target.cases()[:1]", "--steps", "1"), "output/**/summary.json"),
    "vaft_training": ("train.json", (), "output/hardened/model.pt"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(RUNS))
def test_a_copied_bundle_runs_from_its_own_folder(name, environment, tmp_path):
    """It needs nothing beside it."""
    copy = shutil.copytree(BUNDLES / name, tmp_path / "mine")
    file, words, made = RUNS[name]
    if name == "vaft_training":
        network = {**tiny_network("unetr"), "roi_size": [32, 32, 32]}
        cases = "$monai.data.load_decathlon_datalist(@datalist_file, True, '{}')[:1]"
        data = {f"{section}_data": cases.format(section) for section in ("training", "validation")}
        (tmp_path / "tiny.json").write_text(json.dumps({**network, **data}))
        words = ("--configs", f"['train.json','{tmp_path}/tiny.json']", "--checkpoint", "False", "--epochs", "1")
        words += ("--val_interval", "1", "--validation_parameters", "{'steps': 1}", "--tensorboard", "False")
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", f"configs/{file}", *words],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert list(copy.glob(made))


def test_configs_do_not_reach_into_neighbours():
    for path in BUNDLES.glob("*/configs/*.json"):
        assert "/../" not in path.read_text(), path


def test_weights_are_small():
    weights = [path.stat().st_size for path in BUNDLES.rglob("*.pt")]
    assert weights
    assert max(weights) < 25e6
    assert sum(path.stat().st_size for path in BUNDLES.rglob("*") if path.is_file()) < 30e6
