# SPDX-License-Identifier: Apache-2.0
"""Where this package keeps what it makes or fetches once."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Folder for cached files, made on demand."""
    explicit = os.environ.get("MONAI_VAFA_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(explicit) if explicit else Path(base) / "monai_vafa"
    folder = folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
