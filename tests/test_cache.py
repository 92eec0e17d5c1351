# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from monai_vafa.cache import cache_dir


def test_own_variable_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "mine"
    assert cache_dir().is_dir()


def test_then_the_desktops_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("MONAI_VAFA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "monai_vafa"


def test_then_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("MONAI_VAFA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "monai_vafa"
