# SPDX-License-Identifier: Apache-2.0
"""A network that is asked and left as it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

# Modes, requires_grad and torch's random state belong to the whole process, so threads take turns.
_turn = threading.RLock()


def _new_turn() -> None:
    """A forked process does not inherit the turn of a thread that it does not have."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_turn)


@contextmanager
def eval_mode(network: torch.nn.Module) -> Iterator[None]:
    """
    Put a network in eval mode, for this thread alone, and restore modes and buffers at the end, also after an error.

    Modes change by ``train()`` and ``eval()``: modules may do more there than set the attribute, such as merge weights.
    """
    with _turn:
        modes = [(module, _training(module)) for module in network.modules()]
        buffers = {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
        try:
            if any(training for _, training in modes):
                _set_mode(network, False)
            yield
        finally:
            for module, training in modes:  # parents come first: they set the modes of their children
                _set_mode(module, training)
            _restore_buffers(network, buffers)


@contextmanager
def at_rest(network: torch.nn.Module) -> Iterator[None]:
    """A network in eval mode with constant weights."""
    with eval_mode(network):
        needs_grad = [parameter.requires_grad_(False) for parameter in network.parameters() if parameter.requires_grad]
        try:
            yield
        finally:
            for parameter in needs_grad:
                parameter.requires_grad_(True)


def _training(module: torch.nn.Module) -> bool:
    return getattr(module, "training", False)  # frozen TorchScript has no mode


def _set_mode(module: torch.nn.Module, training: bool) -> None:
    if _training(module) == training:
        return
    with suppress(NotImplementedError):  # programs of torch.export stay in the mode that they were exported in
        module.train(training)
        if module.training != training:  # its train() decides otherwise
            module.training = training


def _restore_buffers(network: torch.nn.Module, buffers: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            before = buffers.get(name)
            if before is None or (buffer.shape == before.shape and torch.equal(buffer, before)):
                continue
            if buffer.shape == before.shape and buffer.dtype == before.dtype:
                buffer.copy_(before)
            else:
                parent, _, own = name.rpartition(".")
                setattr(network.get_submodule(parent), own, before)
