# SPDX-License-Identifier: Apache-2.0
"""Python modules that come with a bundle, most often in a folder ``scripts``."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def own_modules(folder: Path) -> set[str]:
    """Names of the Python modules and packages in the folder of a bundle."""
    modules = {path.stem for path in folder.glob("*.py")}
    return modules | {path.name for path in folder.iterdir() if path.is_dir() and next(path.glob("*.py"), None)}


class BundleModules:
    """
    Makes ``import scripts`` mean the ``scripts`` of one bundle, for the length of a ``with`` block.

    Python has one table of modules, and nearly every bundle calls its package ``scripts``. Inside the block the folder
    of the bundle comes first on ``sys.path``, and modules of the same names that others imported are set aside. The
    bundle's modules are kept for the next block, so that their classes stay the same. Blocks may be nested, but are not
    meant for several threads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._depth = 0
        self._own: dict[str, ModuleType] = {}
        self._others: dict[str, ModuleType] = {}

    def __enter__(self) -> BundleModules:
        self._depth += 1
        if self._depth == 1:
            self._others = self._take_out()
            sys.modules.update(self._own)
            sys.path.insert(0, str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            sys.path.remove(str(self.folder))
            self._own = self._take_out()
            sys.modules.update(self._others)

    def _take_out(self) -> dict[str, ModuleType]:
        """Remove all modules of the bundle's names from Python's table, and return them."""
        names = own_modules(self.folder)
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}
