# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What an attack asks of a network: the loss of each volume, and whether it is fooled already."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch

from monai_vafa.losses import SegmentationLoss
from monai_vafa.outputs import Activation, as_logits, check_class_channels, classes_exclude, predicted_labels

__all__ = ["LossFunction", "Objective"]

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Gradients of a mean over millions of voxels underflow in float16; only their direction counts.
_FLOAT16_SCALE = 2.0**14


class Objective:
    """Loss of a frozen network on a batch, one value per volume, so that no volume affects the attack on another."""

    def __init__(
        self,
        network: torch.nn.Module,
        loss: LossFunction,
        label: torch.Tensor | None,  # None: the network's prediction of clean
        clean: torch.Tensor,  # in its own units
        *,
        low: torch.Tensor,  # the value that 0 stands for
        width: torch.Tensor,  # 1 stands for low + width
        targeted: bool = False,
        activation: Activation = "softmax",
        amp: torch.dtype | None = None,
    ) -> None:
        self.network = network
        self.targeted = targeted
        self.activation = activation
        self.loss = self._in_activation(loss)
        self.amp = amp
        self.gradient_scale = _FLOAT16_SCALE if amp == torch.float16 else 1.0
        self._label = label
        self._clean = clean
        self._low = low
        self._width = width
        self._checked = False

    @cached_property
    def label(self) -> torch.Tensor:
        """The label given, or the network's prediction of the clean image; int64, for sigmoid float32."""
        label = self._label
        if label is None:
            with torch.no_grad():
                label = predicted_labels(self.logits(self._clean), self.activation)
        # Losses of class maps index with the label, those of channels compare it with probabilities.
        return label.float() if self.activation == "sigmoid" else label

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Float32 logits of an image in its own units."""
        with torch.autocast(image.device.type, dtype=self.amp, enabled=self.amp is not None):
            logits = as_logits(self.network(image))
        return logits.float()

    def __call__(self, image: torch.Tensor, loss: LossFunction | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Gain (targeted: minus the loss) and success of each volume, both ``(B,)``, of an image in [0, 1].

        A volume is a success if every voxel, with sigmoid every class of it, is wrong (targeted: as wanted). ``loss``
        replaces the objective's own, for attacks whose loss depends on the step.
        """
        logits = self.logits(image * self._width + self._low)
        if not self._checked:
            self._check(logits, image)
            self._checked = True
        # A slice of a batch of one would cost a copy of all logits in the backward pass.
        alone = [logits] if len(logits) == 1 else logits.split(1)
        loss = self.loss if loss is None else self._in_activation(loss)
        losses = torch.stack([loss(*pair).reshape(()) for pair in zip(alone, self.label.split(1), strict=True)])
        with torch.no_grad():
            hit = self._hit(logits)
            success = hit.flatten(1).all(1) if self.targeted else ~hit.flatten(1).any(1)
        return -losses if self.targeted else losses, success

    def _in_activation(self, loss: LossFunction) -> LossFunction:
        return loss.for_activation(self.activation) if isinstance(loss, SegmentationLoss) else loss

    def _hit(self, logits: torch.Tensor) -> torch.Tensor:
        """Where the network says what the label says; ties count as a hit."""
        if self.label.shape[1] > 1 or not classes_exclude(logits, self.activation):
            return (logits > 0) == self.label
        # Several times faster than comparing with argmax, which would be noticeable beside the forward pass.
        return logits.gather(1, self.label) == logits.amax(1, keepdim=True)

    def _check(self, logits: torch.Tensor, image: torch.Tensor) -> None:
        if logits.shape[0] != image.shape[0] or logits.shape[2:] != image.shape[2:]:
            raise ValueError(f"logits of shape {tuple(logits.shape)} do not fit an image of {tuple(image.shape)}.")
        if not torch.isfinite(logits).all():
            raise ValueError("the network's logits are not finite on this image; check its weights and amp.")
        if image.requires_grad and not logits.requires_grad:
            raise ValueError(
                "the network passes no gradient to its input, so no gradient attack can work on it: look for argmax, "
                "detach(), torch.no_grad() or numpy in its forward()."
            )
        channels = logits.shape[1]
        if self.activation == "sigmoid":
            check_class_channels(self.label, channels)
            return
        if isinstance(self.loss, SegmentationLoss):  # takes class maps only
            if channels == 1:
                raise ValueError("logits have 1 channel, which leaves softmax no choice: use activation='sigmoid'.")
            if self.label.shape[1] > 1:
                raise ValueError(
                    f"label has {self.label.shape[1]} channels, but activation='softmax' takes a class map with one; "
                    "for classes that may overlap, with a channel of 0 and 1 each, use activation='sigmoid'."
                )
        if self.label.shape[1] == 1 and self.label.max() >= max(channels, 2):
            raise ValueError(
                f"label holds class {int(self.label.max())}, but the network knows classes 0 to {channels - 1}; "
                "map the labels to the network's classes."
            )
        if self.label.shape[1] not in (1, channels):
            raise ValueError(
                f"label has {self.label.shape[1]} channels; it must have 1 (class map) or {channels} (one per class)."
            )
