# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What a MONAI engine is about to do with its batch, for attacks on it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.utils import convert_to_tensor
from torch.nn.parallel import DataParallel, DistributedDataParallel

from monai_vafa.attacks import Attack

__all__ = ["PreparedBatch", "attack_of_iteration", "check_attack", "inner_network", "same_image"]


def check_attack(attack: Attack) -> Attack:
    """
    Refuse what can't attack the batches of an engine.

    Args:
        attack: any attack that leads away from the label.

    Raises:
        TypeError: When it is no attack.
        ValueError: When it is targeted: a batch has the label of its image and no target.
    """
    if not isinstance(attack, Attack):
        raise TypeError(f"attack must be one of monai_vafa.attacks, got {type(attack).__name__}.")
    if attack.targeted:
        raise ValueError(
            "attack is targeted, but a batch only has the label of its image, towards which it would lead: "
            "give an attack with targeted=False."
        )
    return attack


def attack_of_iteration(attack: Attack, engine: SupervisedTrainer | SupervisedEvaluator) -> Attack:
    """
    The attack as it is in this iteration: in a training its seed moves on, so that the network does not learn one
    noise by heart; in an evaluation it stays.

    Args:
        attack: the handler's attack; left as it is.
        engine: the engine, at ``ITERATION_STARTED``.
    """
    if not isinstance(engine, SupervisedTrainer):
        return attack
    attack = copy.copy(attack)
    attack.seed += engine.state.iteration
    return attack


def inner_network(network: torch.nn.Module) -> torch.nn.Module:
    """
    The network within MONAI's or PyTorch's wrappers (``torch.compile`` around a parallel one, or only parallel).

    Args:
        network: an engine's network.
    """
    compiled = getattr(network, "_orig_mod", network)
    return compiled.module if isinstance(compiled, DataParallel | DistributedDataParallel) else network


def same_image(image: torch.Tensor, other: torch.Tensor) -> bool:
    """
    Whether two images hold the same values, be they on other devices, of other dtypes, with meta data or without.

    Args:
        image: any tensor.
        other: any tensor; the first one is converted to its device and dtype.
    """
    plain: torch.Tensor = convert_to_tensor(image, track_meta=False)
    return torch.equal(plain.to(other.device, other.dtype), convert_to_tensor(other, track_meta=False))


class _WithInputs(torch.nn.Module):
    """A network as a function of the image alone; its further inputs stay what they are."""

    def __init__(self, network: torch.nn.Module, args: tuple, kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.args = args
        self.kwargs = kwargs

    def forward(self, image: torch.Tensor) -> Any:
        return self.network(image, *self.args, **self.kwargs)


@dataclass(frozen=True)
class PreparedBatch:
    """
    What the engine's ``prepare_batch`` makes of ``engine.state.batch``.

    Args:
        image: ``(B, C, *spatial)``, on the engine's device.
        label: ``(B, 1 or classes, *spatial)`` or ``None``.
        args: further inputs of the network.
        kwargs: further inputs of the network by name.
    """

    image: torch.Tensor
    label: torch.Tensor | None
    args: tuple
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, engine: SupervisedTrainer | SupervisedEvaluator) -> PreparedBatch:
        """
        Ask the engine, as its iteration will a moment later.

        Args:
            engine: the engine, at ``ITERATION_STARTED``.
        """
        prepared = engine.prepare_batch(
            engine.state.batch, engine.state.device, engine.non_blocking, **engine.to_kwargs
        )
        image, label, args, kwargs = prepared if len(prepared) == 4 else (*prepared, (), {})
        return cls(image, label, args, kwargs)

    def network(self, engine: SupervisedTrainer | SupervisedEvaluator) -> torch.nn.Module:
        """
        The engine's network to attack: without parallel wrappers, and with the batch's further inputs.

        Args:
            engine: the engine that prepared the batch.
        """
        inner = inner_network(engine.network)
        return _WithInputs(inner, self.args, self.kwargs) if self.args or self.kwargs else inner
