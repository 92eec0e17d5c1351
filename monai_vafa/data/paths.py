# SPDX-License-Identifier: Apache-2.0
"""Paths and names that a user gave."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any


def check_path(name: str, value: Any) -> str:
    """Check that a path or name is still the text that somebody typed."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"{name}={value!r} must be text, but is {type(value).__name__}: in Python, JSON and YAML put it in quotes, "
            f"""on the command line of monai.bundle in two kinds of them: --{name} "'...'"."""
        )
    text = os.fspath(value)
    if "::" in text:
        raise ValueError(
            f"{name}={text!r} must be a path or name without '::', which MONAI makes of '#': rename the folder, or "
            f"write # as \\x23 in an expression, --{name} \"$'my\\x23folder'\"."
        )
    return text


def file_sha256(path: str | os.PathLike) -> str:
    """Hash of a file, as ``sha256sum`` prints it, or of all files of a folder with their names."""
    root, digest = Path(path), sha256()
    for part in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if part != root:
            digest.update(os.fsencode(part.relative_to(root)))
        if part.is_file():
            with open(part, "rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()
