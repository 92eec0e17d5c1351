# SPDX-License-Identifier: Apache-2.0
"""
Golden numbers: the published networks, with weights anyone can make.

``golden/published.npz`` has for each network the names and shapes of a published checkpoint, in the order of the file,
and what the authors' code answers: a few values of each output, at flat positions. The weights follow from the names:
normal numbers seeded by the name's CRC-32, times 0.05, plus 1 for the weights of norms; running variances are positive.
With these the convolutions of UNETR++ drown its attention (in the ACDC form a wrong attention passes), hence a second
set of weights, "attentive", where they don't.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import UNETR

from monai_vafa.networks import UNETRPP, convert_checkpoint, load_checkpoint


def unetr(out_channels=14):
    return UNETR(in_channels=1, out_channels=out_channels, img_size=(96, 96, 96), proj_type="perceptron")


# Its network, the size of its images, and its parameters in millions; UNETR's as stored, by MONAI 0.7.
PUBLISHED = {
    "unetr_synapse": (unetr, (96, 96, 96), 92.79),
    "unetrpp_synapse": (UNETRPP.synapse, (64, 128, 128), 42.95),
    "unetrpp_acdc": (UNETRPP.acdc, (16, 160, 160), 66.80),
}


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "golden" / "published.npz") as file:
        return dict(file)


def stored_shapes(golden, name):
    lines = (line.split() for line in golden[f"{name}.tensors"].tobytes().decode().splitlines())
    return {key: tuple(map(int, shape)) for key, *shape in lines}


def published_weights(golden, name, attentive=False):
    state = {}
    for key, shape in stored_shapes(golden, name).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
            continue
        values = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape) * 0.05
        values = values.astype(np.float32)
        if key.endswith("weight") and "norm" in key.split(".")[-2]:
            values = values + 1
        if key.endswith("running_var"):
            values = np.abs(values) + 1
        if attentive and key.endswith("gamma"):
            values = values * 10 + 1
        if attentive and "temperature" in key:
            values = values * 20 + 3
        if attentive and key.endswith("conv8.1.weight"):
            values = values * np.float32(0.02)
        state[key] = torch.from_numpy(values)
    if name == "unetrpp_synapse":
        # one tensor with two names in the authors' network
        state |= {key: state[key.replace(".E.", ".F.")] for key in state if ".E." in key}
    return state


@pytest.mark.parametrize("name", ["unetrpp_synapse", "unetrpp_acdc"])
def test_names_shapes_and_their_order_are_those_of_the_published_file(golden, name):
    with torch.device("meta"):
        state = PUBLISHED[name][0]().state_dict()
    assert [(key, tuple(value.shape)) for key, value in state.items()] == list(stored_shapes(golden, name).items())


def test_parameter_counts(golden):
    counts = {"unetr_synapse": sum(math.prod(shape) for shape in stored_shapes(golden, "unetr_synapse").values())}
    with torch.device("meta"):
        for name in ("unetrpp_synapse", "unetrpp_acdc"):
            counts[name] = sum(parameter.numel() for parameter in PUBLISHED[name][0]().parameters())
    assert {name: round(count / 1e6, 2) for name, count in counts.items()} == {
        name: count for name, (_, _, count) in PUBLISHED.items()
    }


def relative_errors(golden, name, network, values):
    """Compare each output with the published network's, relative to the largest value there."""
    # Evaluation, except that the network itself, whose children don't follow, returns all its outputs.
    network.eval().training = True
    image = np.random.default_rng(0).standard_normal((1, 1, *PUBLISHED[name][1])).astype(np.float32)
    with torch.no_grad():
        outputs = network(torch.from_numpy(image))
    outputs = outputs if isinstance(outputs, list) else [outputs]
    assert [output.shape for output in outputs] == [
        tuple(golden[key]) for key in golden if key.startswith(f"{name}.shape")
    ]
    errors = []
    for number, output in enumerate(outputs):
        expected = golden[f"{name}.{values}{number}"]
        found = output.flatten()[golden[f"{name}.position{number}"]].numpy()
        errors.append(np.abs(found - expected).max() / np.abs(expected).max())
    return errors


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_answers_are_those_of_the_published_network(golden, name, tmp_path):
    """From a file like the authors' to a bundle's model.pt to the logits."""
    weights = {f"module.{key}": value for key, value in published_weights(golden, name).items()}
    torch.save({"epoch": 7, "state_dict": weights, "best_acc": np.float64(0.8)}, tmp_path / "published.model")
    model = convert_checkpoint(tmp_path / "published.model", tmp_path / "models" / "model.pt", name)
    form = PUBLISHED[name][0]
    network = load_checkpoint(form() if name == "unetr_synapse" else form(deep_supervision=True), model)
    for file in (tmp_path / "published.model", model):
        file.unlink()
    assert max(relative_errors(golden, name, network, "value")) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unetrpp_synapse", "unetrpp_acdc"])
def test_answers_of_the_attention_are_those_of_the_published_network(golden, name):
    weights = published_weights(golden, name, attentive=True)
    network = PUBLISHED[name][0](deep_supervision=True)
    network.load_state_dict(weights)
    assert max(relative_errors(golden, name, network, "attentive")) < 1e-4
    # So that this can fail: the branches of one block of 21 the wrong way round.
    block = "decoder3.decoder_block.0.2.epa_block"
    for end in ("weight", "bias"):
        one, other = f"{block}.out_proj.{end}", f"{block}.out_proj2.{end}"
        weights[one], weights[other] = weights[other], weights[one]
    network.load_state_dict(weights)
    assert relative_errors(golden, name, network, "attentive")[0] > 1e-2
