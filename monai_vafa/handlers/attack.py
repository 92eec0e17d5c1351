# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Replace the image of every batch by its adversarial version."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_dst_type

from monai_vafa.attacks import Attack, SlidingWindowAttack

from .batch import PreparedBatch, attack_of_iteration, check_attack, same_image

__all__ = ["AttackHandler"]


class AttackHandler:
    """
    Replace the image of every batch by its adversarial version, before the network sees it.

    On a ``SupervisedTrainer`` this is adversarial training with any attack; on a ``SupervisedEvaluator`` every metric
    becomes one under attack. The attack knows the label that the engine compares with; without one, the network's
    own prediction stands in. Under a :class:`monai.inferers.SlidingWindowInferer` it works window by window, with
    windows of that size side by side (:class:`monai_vafa.attacks.SlidingWindowAttack`), otherwise on the whole batch.

    The network is attacked without its parallel wrapper, in eval mode, and left as it was. In a training the seed of
    the attack is its own plus the iteration: random starts and noise differ from one to the next. Attach the handler on
    every rank: zoo configs for several GPUs drop some of ``train#handlers`` on ranks above 0, so there attach it in
    ``initialize``, as in ``"$@attack_handler.attach(@train#trainer)"``. Attaching it twice is the same as once.

    Args:
        attack: any attack of :mod:`monai_vafa.attacks` that is not targeted. Its ``intensity_range`` must hold what
            random transforms make of the images, or be ``None``.
        image_key: where the image lies in the batch: the key of a dict, or the place in a list or tuple.

    Raises:
        TypeError: When ``attack`` is none.
        ValueError: When ``attack`` is targeted.
    """

    def __init__(self, *, attack: Attack, image_key: Hashable = "image") -> None:
        self.attack = check_attack(attack)
        self.image_key = image_key

    def attach(self, engine: Engine) -> None:
        """
        Attack the batches of an engine from now on.

        Args:
            engine: MONAI's ``SupervisedTrainer`` or ``SupervisedEvaluator``.

        Raises:
            TypeError: When it is another engine.
        """
        if not isinstance(engine, SupervisedTrainer | SupervisedEvaluator):
            raise TypeError(
                f"engine must be a SupervisedTrainer or SupervisedEvaluator of MONAI, got {type(engine).__name__}."
            )
        if not engine.has_event_handler(self, Events.ITERATION_STARTED):
            engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: SupervisedTrainer | SupervisedEvaluator) -> None:
        """
        Put a new batch with the adversarial image into ``engine.state``; the old one stays as it was.

        Args:
            engine: the engine, at ``ITERATION_STARTED``.

        Raises:
            ValueError: When ``image_key`` is not where the engine finds its image, or image, label and attack don't
                fit together.
        """
        # An engine may walk over the same batches again, so they are not written to.
        batch: Any = dict(engine.state.batch) if isinstance(engine.state.batch, Mapping) else list(engine.state.batch)
        prepared = PreparedBatch.of(engine)
        try:
            image = batch[self.image_key]
        except (KeyError, TypeError, IndexError):
            image = None
        if image is None or not same_image(image, prepared.image):
            found = sorted(map(str, batch)) if isinstance(batch, dict) else f"a list of {len(batch)}"
            raise ValueError(
                f"image_key={self.image_key!r} must be where prepare_batch finds the engine's image, unchanged; "
                f"the batch has {found}."
            )
        network, attack = prepared.network(engine), attack_of_iteration(self.attack, engine)
        if isinstance(engine.inferer, SlidingWindowInferer):
            windows = SlidingWindowAttack(engine.inferer.roi_size, engine.inferer.sw_batch_size)
            adversarial = windows(attack, network, prepared.image, prepared.label)
        else:
            adversarial = attack(network, prepared.image, prepared.label)
        batch[self.image_key] = convert_to_dst_type(adversarial, image, dtype=adversarial.dtype)[0]
        engine.state.batch = batch
