# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Attack a network without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["frozen"]


@contextmanager
def frozen(network: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """
    Put a network in eval mode with constant weights, and put it back as it was at the end, also after an error.

    Every submodule's mode and every parameter's ``requires_grad`` are remembered one by one. Weights that need no
    gradient also spare the backward pass their part of the work, and leave ``.grad`` alone.

    Args:
        network: the network to freeze, in place.
    """
    modes = [(module, module.training) for module in network.modules()]
    needs_grad = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        network.eval()
        for parameter in needs_grad:
            parameter.requires_grad_(False)
        yield network
    finally:
        for module, training in modes:
            module.training = training
        for parameter in needs_grad:
            parameter.requires_grad_(True)
