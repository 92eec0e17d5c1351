# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Replace the image of every batch by its adversarial version."""

from __future__ import annotations

from collections.abc import Hashable

from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer

from monai_vafa.attacks import Attack

from .batch import check_attack, replace_image


class AttackHandler:
    """
    Replace the image of every batch by its adversarial version, before the network sees it.

    Attached to a ``SupervisedTrainer`` this is adversarial training with any attack; attached to a
    ``SupervisedEvaluator`` it makes every metric one under attack. The attack is given the label of the batch; without
    one it takes the network's own prediction. With a :class:`monai.inferers.SlidingWindowInferer` it works on windows
    of that size side by side (:class:`monai_vafa.attacks.SlidingWindowAttack`), otherwise on the whole batch.

    The network is attacked without its parallel wrapper, in eval mode, and left as it was. In a training, the seed of
    the attack is its own plus the iteration, so that random starts and noise differ between iterations. Attach the
    handler on every rank: multi-GPU configs of the zoo drop some of ``train#handlers`` on ranks above 0, so attach it
    in ``initialize`` there, as in ``"$@attack_handler.attach(@train#trainer)"``. Attaching it twice has no effect.

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
        if not isinstance(engine, SupervisedTrainer | SupervisedEvaluator):
            raise TypeError(
                f"engine must be a SupervisedTrainer or SupervisedEvaluator of MONAI, got {type(engine).__name__}."
            )
        if not engine.has_event_handler(self, Events.ITERATION_STARTED):
            engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: SupervisedTrainer | SupervisedEvaluator) -> None:
        """Attack the batch of an engine at ``ITERATION_STARTED``."""
        replace_image(engine, self.attack, self.image_key)
