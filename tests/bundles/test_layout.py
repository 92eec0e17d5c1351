# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from monai.bundle import ConfigWorkflow, verify_metadata

from monai_vafa.networks import load_checkpoint

from .runs import BUNDLES

CONFIGS = [
    ("unetr_inference", "train.json", "train"),
    ("unetr_inference", "inference.json", "infer"),
    ("vafa_attack", "attack.json", "infer"),
    ("vafa_attack", "benchmark.json", "infer"),
    ("vaft_training", "train.json", "train"),
]
NAMES = sorted({name for name, _, _ in CONFIGS} | {"unetrpp_inference"})

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
def workflow(request, cache, monkeypatch, tmp_path):
    """Each config, initialised from a folder that has nothing to do with it."""
    name, file, workflow_type = request.param
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = str(BUNDLES / name / "configs" / file)
    workflow = ConfigWorkflow(path, workflow_type=workflow_type, logging_file=False)
    workflow.initialize()
    return workflow


def test_properties(workflow):
    assert workflow.check_properties() == []


def test_bundle_knows_its_own_folder(workflow):
    assert workflow.bundle_root == str(workflow.config_root_path.parent)


def test_bundles_agree_on_the_network(workflow):
    load_checkpoint(workflow.network_def, BUNDLES / "unetr_inference" / "models" / "model.pt")
    assert workflow.spatial_shape == workflow.parser.get_parsed_content("roi_size")


def test_demo_weights_are_small():
    weights = [path for bundle in BUNDLES.iterdir() for path in bundle.glob("models/**/model.pt")]
    assert weights
    assert max(path.stat().st_size for path in weights) < 10_000_000
