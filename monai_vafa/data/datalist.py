# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What a Decathlon data list says beside its files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["datalist_class_names", "datalist_description", "read_datalist"]


def datalist_class_names(datalist_file: str | os.PathLike) -> list[str]:
    """
    Class names of a Decathlon data list, in the order of their numbers.

    Args:
        datalist_file: JSON file with ``"labels": {"0": "background", ...}``.

    Raises:
        ValueError: When the file has no labels, or leaves out a number.
    """
    labels = read_datalist(datalist_file).get("labels", {})
    names = [labels.get(str(i)) for i in range(len(labels))]
    if not names or None in names:
        raise ValueError(
            f'datalist_file={os.fspath(datalist_file)!r} must have "labels" with the numbers 0, 1, 2, ... as keys and '
            f"class names as values, got {labels}."
        )
    return names


def datalist_description(datalist_file: str | os.PathLike) -> str:
    """
    A line on what the data are: name and description of a Decathlon data list, as far as it has them.

    Args:
        datalist_file: JSON file.
    """
    content = read_datalist(datalist_file)
    return ": ".join(content[key] for key in ("name", "description") if content.get(key))


def read_datalist(datalist_file: str | os.PathLike) -> dict[str, Any]:
    """
    Content of a Decathlon data list.

    Args:
        datalist_file: JSON file.

    Raises:
        FileNotFoundError: When it does not exist.
    """
    if not Path(datalist_file).is_file():
        raise FileNotFoundError(f"datalist_file={os.fspath(datalist_file)!r} does not exist.")
    return json.loads(Path(datalist_file).read_text())
