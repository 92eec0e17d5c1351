# SPDX-License-Identifier: Apache-2.0
"""The commands of ``python -m monai.bundle`` beside ``run``; verify_metadata is in test_layout.py."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from monai.bundle import ckpt_export, load, onnx_export, verify_net_in_out
from monai.networks.nets import UNETR

from monai_vafa.networks import UNETRPP

from .runs import BUNDLES

NETWORKS = {"unetr_inference": UNETR, "unetrpp_inference": UNETRPP}


@pytest.fixture(params=list(NETWORKS))
def name(request, monkeypatch, tmp_path, cache):
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    return request.param


def export(command, name, filepath, **options):
    bundle = BUNDLES / name
    command(
        net_id="network_def",
        filepath=str(filepath),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        **options,
    )


def test_verify_net_in_out(name):
    configs = BUNDLES / name / "configs"
    verify_net_in_out(
        net_id="network_def", meta_file=str(configs / "metadata.json"), config_file=str(configs / "inference.json")
    )


def test_load_from_a_folder(name):
    network = load(name=name, bundle_dir=str(BUNDLES), source="github", repo="no/such/repository")
    assert isinstance(network, NETWORKS[name])
    expected = torch.load(BUNDLES / name / "models" / "model.pt", weights_only=True)
    for key, value in network.state_dict().items():
        assert torch.equal(value, expected[key])


@pytest.mark.slow
def test_ckpt_export(name, tmp_path):
    export(ckpt_export, name, tmp_path / "model.ts")
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    network = load(name=name, bundle_dir=str(BUNDLES)).eval()
    image = torch.rand(1, 1, 80, 96, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(exported(image), network(image), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in ("onnx", "onnxscript")),
    reason="needs onnx, onnxscript",
)
def test_onnx_export(name, tmp_path):
    export(onnx_export, name, tmp_path / "model.onnx", input_shape=(1, 1, 80, 96, 80), use_trace=True)
    assert (tmp_path / "model.onnx").stat().st_size > 1_000_000
