# SPDX-License-Identifier: Apache-2.0
"""Find a bundle: a folder, a bundle that ships with this package, or one of MONAI's model zoo."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import download

from monai_vafa.data.paths import check_path

from .config import causes

logger = logging.getLogger(__name__)

_METADATA = Path("configs") / "metadata.json"
_CONFIGS = (".json", ".yaml", ".yml", ".conf")


def shipped_bundles() -> Path:
    """Folder of the bundles that ship with this package: ``bundles`` in the installed package, or in the clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "bundles"
    return installed if installed.is_dir() else package.parent / "bundles"


def find_bundle(
    bundle: str | os.PathLike,
    *,
    version: str | None = None,
    source: str | None = None,
    bundle_dir: str | os.PathLike | None = None,
) -> Path:
    """
    Find the folder of a bundle, and download the bundle if necessary; see :func:`monai_vafa.target.open_target`.

    The first of these that exists: a folder of this path; a bundle of this name that ships with the package, unless
    ``version``, ``source`` or ``bundle_dir`` ask for another one; a bundle of this name in the model zoo.

    Raises:
        FileNotFoundError: If ``bundle`` is a path and the folder does not exist.
        ValueError: If ``bundle`` is empty, the folder is not a bundle, the download fails, or something is given that
            only a download reads.
    """
    words: dict[str, Any] = {"version": version, "source": source, "bundle_dir": bundle_dir}
    words = {key: value for key, value in words.items() if value is not None}
    if bundle in (None, ""):
        raise ValueError(f"bundle={bundle!r} must be the folder of a bundle, or the name of one.")
    for key, value in {"bundle": bundle, **words}.items():
        check_path(key, value)
    path = Path(bundle).expanduser()
    if path.is_dir():
        if unread := next(iter(words), None):
            raise ValueError(f"{unread} is for bundles of the model zoo, but bundle={str(path)!r} is a folder here.")
        return _checked(path.resolve())
    name = os.fspath(bundle)
    if not re.fullmatch(r"\w[\w.-]*" + (r"(/\w[\w.-]*)?" if source == "huggingface_hub" else ""), name):
        raise FileNotFoundError(f"bundle {name!r} is not a folder; give the folder of a bundle, or the name of one.")
    if not words and name in _shipped():
        return shipped_bundles() / name
    kept = Path(bundle_dir or Path(torch.hub.get_dir()) / "bundle").expanduser().resolve()
    words |= {"name": name.rpartition("/")[2], "bundle_dir": kept}
    if source == "huggingface_hub":
        words["repo"] = name if "/" in name else f"MONAI/{name}"
    folder = kept / (name.removeprefix("monai_") if source in ("ngc", "ngc_private") else words["name"])
    there = (folder / _METADATA).is_file()
    if not there or version not in (None, read_metadata(folder).get("version")):
        try:
            download(**words)
        # Anything from a missing package to a missing network: MONAI has no exception of its own for it.
        except Exception as error:
            raise ValueError(
                f"bundle {name!r} is neither a folder here nor a bundle of this package ({', '.join(_shipped())}), and "
                f"{_failure(error)}. Check name, version and source; where there is no network, give the folder of a "
                "bundle that was downloaded elsewhere."
            ) from error
    return _checked(folder)


def copy_bundle(name: str, destination: str | os.PathLike) -> Path:
    """
    Copy a bundle that ships with this package.

    Args:
        name: "unetr_inference", "unetrpp_inference", "hippocampus_segmentation", "vafa_attack" or "vaft_training".
        destination: folder to make; in a folder that exists already, the copy is named after the bundle.

    Returns:
        absolute path of the copy.

    Raises:
        ValueError: If the package has no such bundle.
        FileExistsError: If the destination already holds such a copy.
    """
    if name not in _shipped():
        raise ValueError(f"bundle {name!r} must be one of {', '.join(_shipped())}.")
    target = Path(destination).expanduser().resolve()
    if target.is_dir():
        target /= name
    if target.exists():
        raise FileExistsError(f"destination {str(target)!r} exists already; name another one, or remove it.")
    shutil.copytree(shipped_bundles() / name, target, ignore=shutil.ignore_patterns("__pycache__", "eval", "last.pt"))
    return target


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read ``configs/metadata.json``."""
    try:
        return dict(json.loads((folder / _METADATA).read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{str(folder / _METADATA)!r} can't be read: {error}") from error


def announce(folder: Path) -> None:
    """Warn of code that is about to run, unless it ships with this package."""
    if not folder.is_relative_to(shipped_bundles()):
        logger.warning(
            "opening the bundle in %s (version %s, sha256 %s over its configs and scripts): its configs are code that "
            "runs; open only what you trust.",
            folder,
            read_metadata(folder).get("version", "unknown"),
            fingerprint(folder),
        )


def fingerprint(folder: Path, more: Sequence[Path] = ()) -> str:
    """SHA-256 over names and contents of the configs and Python files of a bundle, in the order of their names."""
    configs = [path for path in (folder / "configs").rglob("*.*") if path.suffix in _CONFIGS]
    found = [path for path in [*configs, *folder.rglob("*.py")] if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path for path in found}
    files.update({path.name: path for path in more if not path.is_relative_to(folder)})
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _shipped() -> list[str]:
    return sorted(metadata.parent.parent.name for metadata in shipped_bundles().glob(f"*/{_METADATA}"))


def _failure(error: BaseException) -> str:
    """Why a download failed, without the retries and redirections that led there."""
    for cause in causes(error):
        if isinstance(cause, (socket.gaierror, ConnectionError, TimeoutError)):
            return f"MONAI's model zoo can't be reached ({cause})"
    return f"downloading it from MONAI's model zoo failed ({type(error).__name__}: {error})"


def _checked(folder: Path) -> Path:
    if not (folder / _METADATA).is_file():
        raise ValueError(f"folder {str(folder)!r} is not a bundle: it has no {_METADATA.as_posix()}.")
    return folder
