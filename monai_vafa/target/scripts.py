# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Python modules that come with a bundle."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

__all__ = ["own_modules", "scripts_of"]


def own_modules(folder: Path) -> set[str]:
    """
    Names of the Python modules and packages that lie in a bundle.

    Args:
        folder: of the bundle.
    """
    own = {path.stem for path in folder.glob("*.py")}
    return own | {path.name for path in folder.iterdir() if path.is_dir() and next(path.glob("*.py"), None)}


@contextmanager
def scripts_of(folder: Path) -> Iterator[None]:
    """
    Let ``import scripts`` mean the bundle's own, and leave no trace of it.

    MONAI puts the bundle on ``sys.path`` for good. Since most bundles call their package ``scripts``, the second one
    to be opened in a process would then get the code of the first.

    Args:
        folder: of the bundle; first on ``sys.path`` meanwhile.
    """
    own = own_modules(folder)
    hidden = _take_out(own)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _take_out(own)
        sys.modules.update(hidden)


def _take_out(names: set[str]) -> dict[str, ModuleType]:
    taken = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in taken}
