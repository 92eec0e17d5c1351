# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate for networks: what can be attacked, and how it is held still meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from monai_vafa.networks.modes import eval_mode

__all__ = ["at_rest", "check_network", "network_dtype"]


def check_network(network: Any) -> None:
    """Something that can be attacked: a module whose weights autograd can work with."""
    if not isinstance(network, torch.nn.Module):
        hint = "; give the module of the program: network.module()" if hasattr(network, "module") else ""
        raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}{hint}.")
    if any(weight.is_inference() for weight in network.parameters()):
        raise ValueError(
            "the weights of network were made under torch.inference_mode(), so that autograd can't use them: make or "
            "load the network outside of it, or give copy.deepcopy(network)."
        )


def network_dtype(network: torch.nn.Module) -> torch.dtype:
    """The precision that a network computes in: that of its first floating weights."""
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)


@contextmanager
def at_rest(network: torch.nn.Module) -> Iterator[None]:
    """A network in eval mode (:func:`eval_mode`) with constant weights."""
    with eval_mode(network):
        needs_grad = [parameter for parameter in network.parameters() if parameter.requires_grad]
        try:
            for parameter in needs_grad:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in needs_grad:
                parameter.requires_grad_(True)
