# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from . import zoo


@pytest.fixture(scope="session")
def tiny_zoo(tmp_path_factory) -> dict[str, zoo.Bundle]:
    """All tiny bundles by name; not to be changed."""
    root = tmp_path_factory.mktemp("zoo")
    return {make.__name__: make(root) for make in zoo.ALL}


@pytest.fixture(params=[make.__name__ for make in zoo.ALL])
def bundle(request, tiny_zoo) -> zoo.Bundle:
    """Each of the tiny bundles in turn; not to be changed."""
    return tiny_zoo[request.param]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """A working directory that has nothing to do with any bundle."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    return folder
