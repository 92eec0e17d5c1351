# SPDX-License-Identifier: Apache-2.0
"""Volumetric Adversarial Frequency Training (VAFT) for MONAI's trainers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedTrainer
from monai.utils import CommonKeys, convert_to_dst_type

from monai_vafa.attacks import Attack, VolumetricFrequencyAttack
from monai_vafa.attacks.checks import check_count, check_integer, check_number
from monai_vafa.losses import FrequencyConsistencyLoss
from monai_vafa.outputs import as_logits

from .attack import PreparedBatch, attack_of_iteration, check_attack, prepared_batch, replace_image, same_image

logger = logging.getLogger(__name__)

_FREQUENCY_LOSS = FrequencyConsistencyLoss()
_LOSSES = (CommonKeys.LOSS, "loss_clean", "loss_adversarial", "loss_frequency")


def vaft_losses(output: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """
    The losses of an iteration by name, as ``output_transform`` of ``StatsHandler`` or ``TensorBoardStatsHandler``.

    Args:
        output: ``engine.state.output`` of a trainer, decollated or not.

    Returns:
        ``loss`` (the one that is minimized) and those of ``loss_clean``, ``loss_adversarial`` and ``loss_frequency``
        that were computed, each before its weight.
    """
    values = output if isinstance(output, Mapping) else output[0]
    return {str(key): values[key] for key in _LOSSES if key in values}


class VAFTHandler:
    """
    Train on clean and adversarial images together, with logits that agree in the frequency domain.

    Hanif et al., "Frequency Domain Adversarial Training for Robust Volumetric Medical Segmentation", MICCAI 2023,
    Eq. 3-4: ``L = L_seg(M(X), Y) + L_seg(M(X'), Y) + L_fr(M(X'), M(X))``. As in the authors' released code, ``X'`` is
    made in eval mode before the clean forward pass, and the network then sees the clean and the adversarial batch one
    after the other in training mode, so batch norm counts both.

    The trainer's loss is the first term. The others are added at ``LOSS_COMPLETED``, which MONAI fires before the
    backward pass and within autocast, so mixed precision, gradient accumulation and other handlers work as before.
    ``engine.state.output`` holds their sum and what :func:`vaft_losses` returns. With deep supervision, the losses of
    the trainer take the list of outputs, the frequency loss their full resolution. If only the second term has a
    weight, this is plain adversarial training: the trainer's own pass takes ``X'``, and there is no other.

    Under ``DistributedDataParallel`` the adversarial batch goes through the inner network: the wrapper would overwrite
    the buffers that the clean pass still needs. Gradients of both passes are reduced all the same. A training that
    would attack in no iteration is refused when it starts; one that attacked in vain ends with a warning.

    Args:
        attack: makes ``X'``, see :class:`AttackHandler`; ``None`` for VAFA with its defaults (``upstream``).
        adversarial_loss: ``loss(prediction, label)`` of the second term; ``None`` for the trainer's own.
        frequency_loss: ``loss(adversarial_logits, clean_logits)`` of the third term; ``None`` for none ("VAFA without
            FR" of the paper's Table 2).
        clean_weight: weight of the trainer's own loss in iterations that attack; 0 trains on ``X'`` alone.
        adversarial_weight: weight of the second term; 0 leaves it out.
        frequency_weight: weight of the third term; 0 leaves it out.
        every: interval between iterations that attack; the others are the trainer's own.
        warmup_epochs: number of epochs at the start without attack.
        image_key: key or index of the image in the batch, where plain adversarial training replaces it.

    Raises:
        TypeError: If ``attack`` is not an attack, or ``every`` or ``warmup_epochs`` not a number.
        ValueError: If ``attack`` is targeted, the weights leave out the label or ``X'``, or a number is out of range.
    """

    def __init__(
        self,
        *,
        attack: Attack | None = None,
        adversarial_loss: Callable[[Any, torch.Tensor], torch.Tensor] | None = None,
        frequency_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = _FREQUENCY_LOSS,
        clean_weight: float = 1.0,
        adversarial_weight: float = 1.0,
        frequency_weight: float = 1.0,
        every: int = 1,
        warmup_epochs: int = 0,
        image_key: Hashable = "image",
    ) -> None:
        weights = {"clean": clean_weight, "adversarial": adversarial_weight, "frequency": frequency_weight}
        for name, weight in weights.items():
            if check_number(f"{name}_weight", weight) < 0:
                raise ValueError(f"{name}_weight={weight} must be 0 or more.")
        if clean_weight == adversarial_weight == 0:
            raise ValueError("clean_weight and adversarial_weight are both 0: no loss would look at the label.")
        frequency_loss = frequency_loss if frequency_weight > 0 else None
        if adversarial_weight == 0 and frequency_loss is None:
            raise ValueError("adversarial_weight is 0 and there is no frequency loss: the attack would have no effect.")
        if check_integer("warmup_epochs", warmup_epochs) < 0:
            raise ValueError(f"warmup_epochs={warmup_epochs} must be 0 or more.")
        self.attack = check_attack(VolumetricFrequencyAttack() if attack is None else attack)
        self.adversarial_loss = adversarial_loss
        self.frequency_loss = frequency_loss
        self.weights = weights
        self.every = check_count("every", every)
        self.warmup_epochs = int(warmup_epochs)
        self.image_key = image_key
        self._plain = clean_weight == 0 and frequency_loss is None and adversarial_loss is None
        self._attacked: tuple[PreparedBatch, torch.Tensor] | None = None
        self._changed: list[bool] = []  # for each attack, whether it changed the image

    def attach(self, engine: Engine) -> None:
        """Train MONAI's ``SupervisedTrainer`` with VAFT from now on."""
        if not isinstance(engine, SupervisedTrainer):
            raise TypeError(f"engine must be a SupervisedTrainer of MONAI, got {type(engine).__name__}.")
        if not engine.has_event_handler(self._attack, Events.ITERATION_STARTED):
            engine.add_event_handler(Events.STARTED, self._check_attacks)
            engine.add_event_handler(Events.ITERATION_STARTED, self._attack)
            engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._add_losses)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._check_trained)
            engine.add_event_handler(Events.COMPLETED, self._tell)

    def _check_attacks(self, engine: Engine) -> None:
        """Refuse a training in which no iteration is one that attacks."""
        self._changed = []
        epochs, length = engine.state.max_epochs, engine.state.epoch_length
        # Without a length, only the warm-up can be judged.
        last = math.inf if epochs is None else epochs if length is None else epochs * length // self.every * self.every
        if last <= self.warmup_epochs * (length or 1):
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} and every={self.every} leave no iteration with an attack in "
                f"{epochs} epochs of {length} iterations: lower them, or train longer."
            )

    def _tell(self, engine: Engine) -> None:
        if not any(self._changed):
            told = "this training is not hardened by it: VAFT attacked in %d iterations and changed no image"
            logger.warning(told, len(self._changed))

    def _attacks(self, engine: SupervisedTrainer) -> bool:
        return engine.state.epoch > self.warmup_epochs and engine.state.iteration % self.every == 0

    def _attack(self, engine: SupervisedTrainer) -> None:
        """Make ``X'`` of the next batch."""
        self._attacked = None
        if not self._attacks(engine):
            return
        if self._plain:
            self._changed.append(replace_image(engine, self.attack, self.image_key))
            return
        # Not in attach: a trainer attaches its handlers before it has a network.
        wrapper = getattr(engine.network, "_orig_mod", engine.network)
        if getattr(wrapper, "static_graph", False) and self.weights["clean"] == 0 and self.frequency_loss is None:
            raise ValueError(
                "DistributedDataParallel(static_graph=True) reduces no gradients of a loss without its own forward "
                "pass: use static_graph=False, no adversarial_loss, or a clean_weight above 0."
            )
        batch = prepared_batch(engine)
        adversarial = attack_of_iteration(self.attack, engine)(batch.network, batch.image, batch.label)
        self._attacked = batch, adversarial
        self._changed.append(not same_image(adversarial, batch.image))

    def _add_losses(self, engine: SupervisedTrainer) -> None:
        """Add the terms of ``X'`` to the loss in ``engine.state.output``, where MONAI looks for it afterwards."""
        output, attacks = engine.state.output, self._attacks(engine)
        losses = {"adversarial" if self._plain and attacks else "clean": output[CommonKeys.LOSS]}
        if self._attacked is not None:
            batch, adversarial = self._attacked
            self._attacked = None
            image, label, clean = output[CommonKeys.IMAGE], output[CommonKeys.LABEL], output[CommonKeys.PRED]
            if not same_image(image, batch.image):
                raise ValueError(
                    "the trainer's image is not the one that was attacked: prepare_batch must give the same image when "
                    "called again, and handlers that change engine.state.batch must be attached before VAFTHandler."
                )
            # The type of the trainer's own image, which is not a MetaTensor if the network is compiled.
            prediction = engine.inferer(convert_to_dst_type(adversarial, image)[0], batch.network)
            if self.weights["adversarial"] > 0:
                loss = engine.loss_function if self.adversarial_loss is None else self.adversarial_loss
                losses["adversarial"] = loss(prediction, label).mean()
            if self.frequency_loss is not None:
                losses["frequency"] = self.frequency_loss(as_logits(prediction), as_logits(clean))
        if attacks:
            terms = (self.weights[name] * loss for name, loss in losses.items() if self.weights[name] > 0)
            output[CommonKeys.LOSS] = sum(terms)
        output.update({f"loss_{name}": loss.detach() for name, loss in losses.items()})

    def _check_trained(self, engine: Engine) -> None:
        if self._attacked is not None:
            raise RuntimeError("iteration_update must fire IterationEvents.LOSS_COMPLETED before its backward pass.")
