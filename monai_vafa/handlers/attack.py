# SPDX-License-Identifier: Apache-2.0
"""Replace the image of every batch by its adversarial version."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch.nn.parallel import DataParallel, DistributedDataParallel

from monai_vafa.attacks import Attack, SlidingWindowAttack

SupervisedEngine: TypeAlias = SupervisedTrainer | SupervisedEvaluator


class AttackHandler:
    """
    Replace the image of every batch by its adversarial version, before the network sees it.

    Attached to a ``SupervisedTrainer`` this is adversarial training with any attack; attached to a
    ``SupervisedEvaluator`` it makes every metric one under attack. The attack is given the label of the batch; without
    one it takes the network's own prediction. With a :class:`monai.inferers.SlidingWindowInferer` it works on windows
    of that size (:class:`monai_vafa.attacks.SlidingWindowAttack`), otherwise on the whole batch.

    The network is attacked without its parallel wrapper, in eval mode, and left as it was. In a training, the seed of
    the attack is its own plus the iteration. Attach all handlers of this package on every rank; attaching one twice has
    no effect. Multi-GPU configs of the zoo drop some of ``train#handlers`` on ranks above 0: attach them in
    ``initialize`` there, as in ``"$@attack_handler.attach(@train#trainer)"``.

    Args:
        attack: any untargeted attack of :mod:`monai_vafa.attacks`. Its ``intensity_range`` must include what random
            transforms make of the images, or be ``None``.
        image_key: key of the image in the batch, or its index if the batch is a list or tuple.

    Raises:
        TypeError: If ``attack`` is not an attack.
        ValueError: If ``attack`` is targeted.
    """

    def __init__(self, *, attack: Attack, image_key: Hashable = "image") -> None:
        self.attack = check_attack(attack)
        self.image_key = image_key

    def attach(self, engine: Engine) -> None:
        """Attack the batches of a trainer or evaluator from now on."""
        if not isinstance(engine, SupervisedEngine):
            raise TypeError(f"engine must be a SupervisedTrainer or SupervisedEvaluator, got {type(engine).__name__}.")
        if not engine.has_event_handler(self, Events.ITERATION_STARTED):
            engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: SupervisedEngine) -> None:
        """Attack the batch of an engine at ``ITERATION_STARTED``."""
        replace_image(engine, self.attack, self.image_key)


def check_attack(attack: Attack) -> Attack:
    """Refuse what is not an attack, and targeted attacks: a batch has the label of its image, and no target."""
    if not isinstance(attack, Attack):
        raise TypeError(f"attack must be one of monai_vafa.attacks, got {type(attack).__name__}.")
    if attack.targeted:
        raise ValueError("attack is targeted, but a batch has only its image's label: give one with targeted=False.")
    return attack


def attack_of_iteration(attack: Attack, engine: SupervisedEngine) -> Attack:
    """The attack with the seed of this iteration: it changes in a training, so that no network learns one noise."""
    if isinstance(engine, SupervisedTrainer):
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
        self.network, self.args, self.kwargs = network, args, kwargs

    def forward(self, image: torch.Tensor) -> Any:
        return self.network(image, *self.args, **self.kwargs)


class PreparedBatch(NamedTuple):
    """What the engine's ``prepare_batch`` makes of its batch."""

    image: torch.Tensor
    label: torch.Tensor | None
    network: torch.nn.Module  # without wrappers, as a function of the image alone


def prepared_batch(engine: SupervisedEngine) -> PreparedBatch:
    """The batch of an engine at ``ITERATION_STARTED``, as its iteration will prepare it a moment later."""
    prepared = engine.prepare_batch(engine.state.batch, engine.state.device, engine.non_blocking, **engine.to_kwargs)
    image, label, args, kwargs = prepared if len(prepared) == 4 else (*prepared, (), {})
    network = inner_network(engine.network)
    return PreparedBatch(image, label, _WithInputs(network, args, kwargs) if args or kwargs else network)


def replace_image(engine: SupervisedEngine, attack: Attack, image_key: Hashable) -> bool:
    """Give an engine at ``ITERATION_STARTED`` a new batch with the adversarial image; returns whether it differs."""
    # A new batch, since data loaders may give out the old one again.
    batch: Any = dict(engine.state.batch) if isinstance(engine.state.batch, Mapping) else list(engine.state.batch)
    prepared = prepared_batch(engine)
    try:
        image = batch[image_key]
    except (KeyError, TypeError, IndexError):
        image = None
    if image is None or not same_image(image, prepared.image):
        found = sorted(map(str, batch)) if isinstance(batch, dict) else f"a list of {len(batch)}"
        raise ValueError(f"image_key={image_key!r} must be prepare_batch's image, unchanged; the batch has {found}.")
    attack = attack_of_iteration(attack, engine)
    if isinstance(engine.inferer, SlidingWindowInferer):
        windows = SlidingWindowAttack(engine.inferer.roi_size, engine.inferer.sw_batch_size)
        adversarial = windows(attack, prepared.network, prepared.image, prepared.label)
    else:
        adversarial = attack(prepared.network, prepared.image, prepared.label)
    batch[image_key] = convert_to_dst_type(adversarial, image, dtype=adversarial.dtype)[0]
    engine.state.batch = batch
    return not same_image(adversarial, prepared.image)
