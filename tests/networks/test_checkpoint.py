# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_vafa.networks import load_checkpoint


@pytest.fixture
def saved(network, tmp_path):
    def save(content):
        torch.save(content, tmp_path / "model.pt")
        return tmp_path / "model.pt"

    return save


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s, "epoch": 3}])
def test_weights_arrive(network, saved, wrap):
    path = saved(wrap({key: value + 1 for key, value in network.state_dict().items()}))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert load_checkpoint(network, path) is network
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key] + 1)


def test_keys_that_do_not_fit_are_named(network, saved):
    state = dict(network.state_dict())
    state["extra.weight"] = state.pop("0.bias")
    state["2.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match=r"missing in the file: 0\.bias.*extra\.weight.*2\.bias \(7,\) for \(3,\)"):
        load_checkpoint(network, saved(state))


def test_missing_file_is_named(network, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no_such\.pt"):
        load_checkpoint(network, tmp_path / "no_such.pt")


def test_truncated_file_is_named(network, saved):
    path = saved(network.state_dict())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="can't be read"):
        load_checkpoint(network, path)


def test_code_in_a_file_is_not_run(network, saved):
    with pytest.raises(ValueError, match="can't be read"):
        load_checkpoint(network, saved({"model": network}))


def test_file_without_weights_is_named(network, saved):
    with pytest.raises(ValueError, match="no state dict"):
        load_checkpoint(network, saved({"epoch": 3}))
