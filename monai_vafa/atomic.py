# SPDX-License-Identifier: Apache-2.0
"""Files that are never half written, even if the process is killed: written beside their place, then moved there."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_PARTIAL = ".partial"
_HOST = re.sub(r"\W", "-", socket.gethostname())


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place, then move it there."""
    partial = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}{_PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        os.replace(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        # torch.save hides the error of the file behind its own
        reason = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(reason, OSError) and reason.strerror:
            told = f"{reason.strerror}; what is finished is kept: remove the cause and start the run again"
            raise OSError(reason.errno, told, os.fspath(path)) from error
        raise


def write_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that ``torch.load`` reads."""
    import torch  # here, since reports need none

    def save(partial: Path) -> None:
        # Given a path, torch would write its name into the file, and would not say what is wrong with a disk.
        with open(partial, "wb") as file:
            torch.save(content, file)

    write_file(path, save)


def remove_partial_files(folder: Path) -> None:
    """Remove unfinished files of this process, and of killed ones on this machine; all others stay."""
    for stale in folder.rglob(f".*.{_HOST}.*{_PARTIAL}") if folder.is_dir() else ():
        pid = stale.name.removesuffix(_PARTIAL).rpartition(".")[2]
        if pid.isdecimal() and not _lives_elsewhere(int(pid)):
            stale.unlink(missing_ok=True)


def _lives_elsewhere(pid: int) -> bool:
    """Whether a process is another one than this and is alive; on Windows, where asking would end it, it may be."""
    try:
        with suppress(PermissionError):
            if os.name != "nt":
                os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    return pid != os.getpid()
