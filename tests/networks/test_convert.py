# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_vafa.networks import checkpoint, convert_checkpoint


@pytest.fixture(autouse=True)
def small_form(monkeypatch):
    """In place of a published network, whose files have hundreds of megabytes."""
    monkeypatch.setitem(checkpoint._FORMS, "unetrpp_acdc", lambda out_channels=4: torch.nn.Conv3d(1, out_channels, 3))


def test_weights_alone_are_written(tmp_path):
    state = {key: value + 1 for key, value in torch.nn.Conv3d(1, 4, 3).state_dict().items()}
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, tmp_path / "old")
    written = convert_checkpoint(tmp_path / "old", tmp_path / "new" / "models" / "model.pt", "unetrpp_acdc")
    assert written == tmp_path / "new" / "models" / "model.pt"
    content = torch.load(written, weights_only=True)
    assert list(content) == list(state)
    assert all(torch.equal(content[key], state[key]) for key in state)


def test_number_of_classes_can_be_given(tmp_path):
    torch.save(torch.nn.Conv3d(1, 2, 3).state_dict(), tmp_path / "old")
    convert_checkpoint(tmp_path / "old", tmp_path / "model.pt", "unetrpp_acdc", out_channels=2)
    with pytest.raises(ValueError, match="number of classes"):
        convert_checkpoint(tmp_path / "old", tmp_path / "model.pt", "unetrpp_acdc")


def test_failure_leaves_what_was_there(tmp_path, monkeypatch):
    torch.save(torch.nn.Conv3d(1, 4, 3).state_dict(), tmp_path / "old")
    (tmp_path / "model.pt").write_text("before")

    def full_disk(state, file):
        file.write(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        convert_checkpoint(tmp_path / "old", tmp_path / "model.pt", "unetrpp_acdc")
    assert (tmp_path / "model.pt").read_text() == "before"
    assert {file.name for file in tmp_path.iterdir()} == {"old", "model.pt"}


def test_every_process_writes_the_same_bytes(tmp_path, monkeypatch):
    torch.save(torch.nn.Conv3d(1, 4, 3).state_dict(), tmp_path / "old")
    one = convert_checkpoint(tmp_path / "old", tmp_path / "one.pt", "unetrpp_acdc").read_bytes()
    monkeypatch.setattr(checkpoint.os, "getpid", lambda: 7)
    assert convert_checkpoint(tmp_path / "old", tmp_path / "two.pt", "unetrpp_acdc").read_bytes() == one


def test_unknown_network_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="network='unet' must be one of unetr_synapse, unetrpp_synapse, unetrpp_acdc"):
        convert_checkpoint(tmp_path / "old", tmp_path / "model.pt", "unet")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such"):
        convert_checkpoint(tmp_path / "no_such", tmp_path / "model.pt", "unetrpp_acdc")
