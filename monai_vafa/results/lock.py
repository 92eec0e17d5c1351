# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""One run at a time in a folder."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["folder_lock"]

logger = logging.getLogger(__name__)

_LOCK = ".lock"


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """
    Keep other runs out of a folder, which is made if necessary.

    The operating system holds the lock for the open file, so that a process that dies in whatever way lets go of it.

    Raises:
        ValueError: If another run has the folder; says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK
    file = _acquire(path)
    try:
        os.ftruncate(file, 0)
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": f"{datetime.now(timezone.utc):%F %T} UTC"}
        os.write(file, json.dumps(holder).encode())
        yield
    finally:
        if fcntl is not None:
            path.unlink(missing_ok=True)
        os.close(file)


def _acquire(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl is None:
                return file
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who had the lock may have removed the file since it was opened here.
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
            os.close(file)
        except BlockingIOError:
            os.close(file)
            raise ValueError(
                f"output_dir={os.fspath(path.parent)!r} is in use by another run ({_holder(path)}). Wait until it ends "
                "or stop it, and start this one again; or choose another output_dir."
            ) from None
        except OSError as error:
            logger.warning("%s can not be locked (%s): do not start a second run there.", path.parent, error)
            return file


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_bytes())
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError):
        return "it has just begun or ended"
