# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""From a path or a name in the model zoo to the folder of a bundle."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import torch
from monai.bundle import download

__all__ = ["announce", "find_bundle", "fingerprint", "read_metadata"]

logger = logging.getLogger(__name__)

_METADATA = Path("configs") / "metadata.json"
_CONFIGS = (".json", ".yaml", ".yml", ".conf")


def find_bundle(
    bundle: str | os.PathLike,
    *,
    version: str | None = None,
    source: str | None = None,
    bundle_dir: str | os.PathLike | None = None,
) -> Path:
    """
    Folder of a bundle, downloaded if need be.

    Args:
        bundle: a folder, or a name in the model zoo.
        version: of a zoo bundle; ``None`` takes what is in ``bundle_dir`` already, else the latest.
        source: where ``monai.bundle download`` fetches from: "monaihosting", "github", "ngc", "huggingface_hub";
            ``None`` for MONAI's own choice.
        bundle_dir: where downloaded bundles are kept; ``None`` for MONAI's folder, ``bundle`` in torch's hub.

    Returns:
        absolute path.

    Raises:
        FileNotFoundError: When ``bundle`` is a path, and there is no such folder.
        ValueError: When ``bundle`` is empty, the folder is no bundle, or the download fails.
    """
    if not bundle:
        raise ValueError(f"bundle={bundle!r}: give the folder of a bundle, or its name in the model zoo.")
    path = Path(bundle).expanduser()
    if path.is_dir():
        return _checked(path.resolve())
    name = os.fspath(bundle)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise FileNotFoundError(f"bundle {name!r} is no folder; give the folder of a bundle, or its name in the zoo.")
    kept = Path(bundle_dir or Path(torch.hub.get_dir()) / "bundle").expanduser().resolve()
    folder = kept / (name.removeprefix("monai_") if source in ("ngc", "ngc_private") else name)
    if not _is_there(folder, version):
        words: dict[str, Any] = {"version": version, "source": source}
        try:
            download(name=name, bundle_dir=kept, **{key: word for key, word in words.items() if word is not None})
        # From a missing package to a missing network; MONAI has no exception of its own for it.
        except Exception as error:
            raise ValueError(
                f"bundle {name!r} is no folder here, and downloading it into {str(kept)!r} failed "
                f"({type(error).__name__}: {error}). Check name, version={version!r} and source={source!r}, or give "
                "the folder of a bundle."
            ) from error
    return _checked(folder)


def read_metadata(folder: Path) -> dict[str, Any]:
    """
    What a bundle says of itself.

    Args:
        folder: of the bundle.

    Returns:
        content of ``configs/metadata.json``.
    """
    return json.loads((folder / _METADATA).read_text(encoding="utf-8"))


def announce(folder: Path) -> None:
    """
    Warn of the code that is about to run, unless the bundle lies in the working directory.

    Args:
        folder: of the bundle.
    """
    if not folder.is_relative_to(Path.cwd()):
        logger.warning(
            "opening the bundle in %s (version %s, sha256 %s over its configs and scripts): its configs are code that "
            "runs; open only what you trust.",
            folder,
            read_metadata(folder).get("version", "unknown"),
            fingerprint(folder),
        )


def fingerprint(folder: Path) -> str:
    """
    SHA-256 over names and contents of the configs and Python files of a bundle, in the order of their names.

    Args:
        folder: of the bundle.
    """
    configs = [path for path in (folder / "configs").rglob("*") if path.suffix in _CONFIGS]
    files = {path.relative_to(folder).as_posix(): path for path in [*configs, *folder.rglob("*.py")]}
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _is_there(folder: Path, version: str | None) -> bool:
    if not (folder / _METADATA).is_file():
        return False
    return version is None or read_metadata(folder).get("version") == version


def _checked(folder: Path) -> Path:
    if not (folder / _METADATA).is_file():
        raise ValueError(f"folder {str(folder)!r} is no bundle: it has no {_METADATA.as_posix()}.")
    return folder
