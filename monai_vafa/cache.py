# SPDX-License-Identifier: Apache-2.0
"""Where this package keeps what it makes or fetches once."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Folder for cached files, made on demand."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "monai_vafa"
    folder = Path(os.environ.get("MONAI_VAFA_CACHE") or usual).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
