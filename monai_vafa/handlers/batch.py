# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The batch that a MONAI engine is about to process, and how to attack it."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch.nn.parallel import DataParallel, DistributedDataParallel

from monai_vafa.attacks import Attack, SlidingWindowAttack


def check_attack(attack: Attack) -> Attack:
    """Refuse what is not an attack, and targeted attacks: a batch has the label of its image, and no target."""
    if not isinstance(attack, Attack):
        raise TypeError(f"attack must be one of monai_vafa.attacks, got {type(attack).__name__}.")
    if attack.targeted:
        raise ValueError(
            "attack is targeted, but the only label of a batch is that of its image: give an attack with "
            "targeted=False."
        )
    return attack


def attack_of_iteration(attack: Attack, engine: SupervisedTrainer | SupervisedEvaluator) -> Attack:
    """The attack with the seed of this iteration: it changes in a training, so that no network learns one noise."""
    if not isinstance(engine, SupervisedTrainer):
        return attack
    attack = copy.copy(attack)
    attack.seed += engine.state.iteration
    return attack


def inner_network(network: torch.nn.Module) -> torch.nn.Module:
    """The network without wrappers: ``torch.compile`` around a parallel one, or only one of the two."""
    network = getattr(network, "_orig_mod", network)
    return network.module if isinstance(network, DataParallel | DistributedDataParallel) else network


def same_image(image: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two images have the same values, also on different devices, with different dtypes or metadata."""
    plain: torch.Tensor = convert_to_tensor(image, track_meta=False)
    return torch.equal(plain.to(other.device, other.dtype), convert_to_tensor(other, track_meta=False))


class _WithInputs(torch.nn.Module):
    """A network as a function of the image alone, with its other inputs fixed."""

    def __init__(self, network: torch.nn.Module, args: tuple, kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.args = args
        self.kwargs = kwargs

    def forward(self, image: torch.Tensor) -> Any:
        return self.network(image, *self.args, **self.kwargs)


@dataclass(frozen=True)
class PreparedBatch:
    """What the engine's ``prepare_batch`` makes of its batch: image, label or ``None``, and other inputs."""

    image: torch.Tensor
    label: torch.Tensor | None
    args: tuple
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, engine: SupervisedTrainer | SupervisedEvaluator) -> PreparedBatch:
        """Prepare the batch of an engine at ``ITERATION_STARTED``, as its iteration will a moment later."""
        prepared = engine.prepare_batch(
            engine.state.batch, engine.state.device, engine.non_blocking, **engine.to_kwargs
        )
        image, label, args, kwargs = prepared if len(prepared) == 4 else (*prepared, (), {})
        return cls(image, label, args, kwargs)

    def network(self, engine: SupervisedTrainer | SupervisedEvaluator) -> torch.nn.Module:
        """The engine's network to attack: without wrappers, and with the further inputs of the batch."""
        inner = inner_network(engine.network)
        return _WithInputs(inner, self.args, self.kwargs) if self.args or self.kwargs else inner


def replace_image(engine: SupervisedTrainer | SupervisedEvaluator, attack: Attack, image_key: Hashable) -> bool:
    """Give an engine at ``ITERATION_STARTED`` a new batch with the adversarial image; returns whether it differs."""
    # A new batch, since data loaders may give out the old one again.
    batch: Any = dict(engine.state.batch) if isinstance(engine.state.batch, Mapping) else list(engine.state.batch)
    prepared = PreparedBatch.of(engine)
    try:
        image = batch[image_key]
    except (KeyError, TypeError, IndexError):
        image = None
    if image is None or not same_image(image, prepared.image):
        found = sorted(map(str, batch)) if isinstance(batch, dict) else f"a list of {len(batch)}"
        raise ValueError(
            f"image_key={image_key!r} must be where prepare_batch finds the engine's image, unchanged; the batch has "
            f"{found}."
        )
    network, attack = prepared.network(engine), attack_of_iteration(attack, engine)
    if isinstance(engine.inferer, SlidingWindowInferer):
        windows = SlidingWindowAttack(engine.inferer.roi_size, engine.inferer.sw_batch_size)
        adversarial = windows(attack, network, prepared.image, prepared.label)
    else:
        adversarial = attack(network, prepared.image, prepared.label)
    batch[image_key] = convert_to_dst_type(adversarial, image, dtype=adversarial.dtype)[0]
    engine.state.batch = batch
    return not same_image(adversarial, prepared.image)
