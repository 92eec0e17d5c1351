# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Where results come from: software, weights, cases."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import monai
import torch

import monai_vafa

__all__ = ["case_names", "file_sha256", "versions"]

# Names may have dots in them.
_ENDING = re.compile(r"\.(nii(\.gz)?|png|jpe?g|bmp|tiff?)$", re.IGNORECASE)


def versions() -> dict[str, str]:
    """Versions of the software that results depend on."""
    return {
        "monai_vafa": monai_vafa.__version__,
        "monai": monai.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def file_sha256(path: str | os.PathLike) -> str:
    """
    Hash of a file, as ``sha256sum`` prints it.

    Args:
        path: file to read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def case_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """
    Names for cases: their file names without ending; where two are the same, with the name of the folder before.

    Args:
        paths: image file of each case.

    Raises:
        ValueError: When two cases have the same file and folder name.
    """
    names = [_ENDING.sub("", Path(path).name) for path in paths]
    if len(set(names)) < len(names):
        names = [f"{Path(path).parent.name}_{name}" for path, name in zip(paths, names, strict=True)]
    if len(set(names)) < len(names):
        raise ValueError("dataset has cases of the same file and folder name: results would overwrite each other.")
    return names
