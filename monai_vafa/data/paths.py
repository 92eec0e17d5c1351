# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Paths and names as a user gave them."""

from __future__ import annotations

import os
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
