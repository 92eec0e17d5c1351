# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import socket

import pytest

from monai_vafa.target import copy_bundle, find_bundle, open_target, shipped_bundles, source

from . import zoo


@pytest.fixture
def hosting(tmp_path, monkeypatch):
    """A model zoo with one bundle in it, in place of the network; gives what was asked of it."""
    bundle = zoo.softmax(tmp_path / "hosting")
    asked = []

    def download(name, bundle_dir, **words):
        asked.append({"name": name, **words})
        if name != "softmax":
            raise OSError("404")
        shutil.copytree(bundle.folder, bundle_dir / name, dirs_exist_ok=True)

    monkeypatch.setattr(source, "download", download)
    return asked


def test_names_are_downloaded_once(hosting, tmp_path):
    for _ in range(2):
        assert open_target("softmax", bundle_dir=tmp_path / "kept").folder == tmp_path / "kept" / "softmax"
    assert hosting == [{"name": "softmax"}]
    find_bundle("softmax", bundle_dir=tmp_path / "kept", version="0.1.0")
    assert len(hosting) == 1
    find_bundle("softmax", bundle_dir=tmp_path / "kept", version="0.2.0", source="github")
    assert hosting[1] == {"name": "softmax", "version": "0.2.0", "source": "github"}


def test_bundles_that_nobody_has_are_refused(hosting, tmp_path):
    with pytest.raises(
        ValueError, match=r"'nosuch' is neither a folder here nor .*unetr_inference.* downloading it .*OSError: 404"
    ):
        find_bundle("nosuch", bundle_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="no/such/folder"):
        find_bundle("no/such/folder")
    assert [each["name"] for each in hosting] == ["nosuch"]


def test_a_folder_comes_first_then_what_ships_with_the_package_then_the_zoo(hosting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_bundle("unetr_inference") == shipped_bundles() / "unetr_inference"
    assert hosting == []
    assert find_bundle(copy_bundle("unetr_inference", "unetr_inference")) == tmp_path / "unetr_inference"
    assert find_bundle("unetr_inference") == tmp_path / "unetr_inference"
    with pytest.raises(ValueError, match="404"):
        find_bundle("vafa_attack", version="0.1.0", bundle_dir=tmp_path)
    assert find_bundle("softmax", bundle_dir=tmp_path / "kept") == tmp_path / "kept" / "softmax"


def test_hugging_face_knows_owners(hosting, tmp_path):
    find_bundle("me/softmax", source="huggingface_hub", bundle_dir=tmp_path / "one")
    find_bundle("softmax", source="huggingface_hub", bundle_dir=tmp_path / "other")
    assert [asked["repo"] for asked in hosting] == ["me/softmax", "MONAI/softmax"]


def test_without_a_network_the_error_is_short(tmp_path, monkeypatch):
    def download(**_):
        try:
            raise socket.gaierror(-2, "Name or service not known")
        except socket.gaierror as error:
            raise RuntimeError("Max retries exceeded with url: https://a.long/story") from error

    monkeypatch.setattr(source, "download", download)
    with pytest.raises(ValueError, match=r"MONAI's model zoo can't be reached .*give the folder of a bundle") as raised:
        find_bundle("spleen_ct_segmentation", bundle_dir=tmp_path)
    assert "retries" not in str(raised.value)


def test_copies_are_whole_and_never_overwrite(tmp_path):
    copy = copy_bundle("vafa_attack", tmp_path / "mine")
    assert copy == tmp_path / "mine"
    assert source.fingerprint(copy) == source.fingerprint(shipped_bundles() / "vafa_attack")
    assert copy_bundle("vafa_attack", tmp_path) == tmp_path / "vafa_attack"
    with pytest.raises(FileExistsError, match="exists already"):
        copy_bundle("vafa_attack", tmp_path)
    with pytest.raises(ValueError, match=r"'nosuch' must be one of .*unetr_inference"):
        copy_bundle("nosuch", tmp_path)


def test_folders_that_are_no_bundle_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is not a bundle: it has no configs/metadata\.json"):
        open_target(tmp_path)


def test_code_from_elsewhere_is_announced_before_it_runs(tmp_path, caplog, monkeypatch):
    folder = zoo.own_scripts(tmp_path).folder
    zoo.change(folder, "inference", network_def="$(_ for _ in ()).throw(OSError('ran'))")
    with pytest.raises(ValueError, match="ran"):
        open_target(folder)
    [message] = [record.message for record in caplog.records if "its configs are code that runs" in record.message]
    assert str(folder) in message
    assert source.fingerprint(folder) in message
    # Also from beside it: what counts is where the bundle comes from.
    caplog.clear()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="ran"):
        open_target(folder)
    assert "its configs are code that runs" in caplog.text
    caplog.clear()
    source.announce(source.find_bundle("unetr_inference"))
    assert not caplog.text


@pytest.mark.parametrize("file", ["configs/inference.json", "scripts/parts.py"])
def test_fingerprint_changes_with_what_runs(tmp_path, file):
    folder = zoo.own_scripts(tmp_path).folder
    before = source.fingerprint(folder)
    (folder / "models" / "more.pt").touch()
    assert source.fingerprint(folder) == before
    (folder / file).write_text((folder / file).read_text() + "\n")
    assert source.fingerprint(folder) != before
