# SPDX-License-Identifier: Apache-2.0
"""What an attack asks of a network: the loss of each volume, whether it is fooled already, and the gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import cast

import torch

from monai_vafa.losses import SegmentationLoss
from monai_vafa.outputs import Activation, as_logits, check_class_channels, classes_exclude, predicted_labels

from .draws import Draws
from .user_loss import LossFunction, LossGate

# Gradients of a mean over millions of voxels underflow in float16; only their direction counts.
_FLOAT16_SCALE = 2.0**14


class Objective:
    """Loss of a frozen network on a batch, one value per volume, so that no volume affects the attack on another."""

    right_voxels: torch.Tensor
    """Number of right answers of the last call, ``(B,)``: voxels, with sigmoid classes of voxels; void left out."""

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
        ignore_label: int | None = None,
        amp: torch.dtype | None = None,
        draws: Draws | None = None,  # random numbers of each volume
    ) -> None:
        self.network = network
        self.draws = Draws(0, clean) if draws is None else draws
        self.lost = LostGradients(len(clean))
        self.targeted = targeted
        self.activation = activation
        self.loss = self._in_activation(loss)
        self.amp = amp
        # The precision that it computes in.
        self._dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
        self.gradient_scale = _FLOAT16_SCALE if torch.float16 in (amp, self._dtype) else 1.0
        self._counted = None if label is None else _counted(label, ignore_label)
        self._given = label
        if label is not None and self._counted is not None:
            self._given = label.masked_fill(label.eq(cast(int, ignore_label)), 0)
        self._clean = clean
        self._low = low
        self._width = width
        self._gate = LossGate()
        self._reentrant = False
        self._checked = False

    @cached_property
    def label(self) -> torch.Tensor:
        """The label given, or the network's prediction of the clean image; int64, for sigmoid float32."""
        label = self._given
        if label is None:
            with torch.no_grad():
                label = predicted_labels(self.logits(self._clean), self.activation)
        # Losses of class maps index with the label, those of channels compare it with probabilities.
        return label.float() if self.activation == "sigmoid" else label

    @cached_property
    def _answer(self) -> torch.Tensor:
        """What is right: the label, as a class map also where it was given with a channel per class."""
        if self.activation == "softmax" and self.label.shape[1] > 1:
            return self.label.argmax(1, keepdim=True)
        return self.label

    def logits(self, image: torch.Tensor, network: Callable | None = None) -> torch.Tensor:
        """Float32 logits of an image in its own units; ``network`` replaces the own."""
        # A copy: networks may work in place.
        own = image.clone() if image.dtype == self._dtype else image.to(self._dtype)
        with torch.autocast(image.device.type, dtype=self.amp, enabled=self.amp is not None):
            logits = as_logits((self.network if network is None else network)(own))
        return logits.float()

    def __call__(
        self, image: torch.Tensor, loss: LossFunction | None = None, network: Callable | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gain (targeted: minus the loss) and success, ``(B,)``, of an image in [0, 1]; the others replace the own."""
        logits = self._checked_logits(image, network)
        with torch.no_grad():
            hit = self._hit(logits)
            counted = None if self._counted is None else self._counted.unsqueeze(1)
            right = hit if counted is None else hit & counted
            self.right_voxels = right.flatten(1).sum(1)
            done = hit if counted is None else hit | ~counted
            success = done.flatten(1).all(1) if self.targeted else ~right.flatten(1).any(1)
        loss = self.loss if loss is None else self._in_activation(loss)
        label = self._answer if isinstance(loss, SegmentationLoss) else self.label
        # A slice of a batch of one would cost a copy of all logits in the backward pass.
        alone = [logits] if len(logits) == 1 else logits.split(1)
        pairs = zip(alone, label.split(1), strict=True)
        losses = torch.stack([self._loss_of(i, loss, *pair) for i, pair in enumerate(pairs)])
        check_finite("loss is", losses, self.amp)
        return -losses if self.targeted else losses, success

    def margins(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        How far each answer is from what the attack wants, ``(B, N)``, and which count, bool; below 0 it is there.

        Untargeted, those of the foreground count: classes above 0, with sigmoid the classes that a voxel has.
        """
        logits = self._checked_logits(image)
        if classes_exclude(logits, self.activation):
            others = logits.scatter(1, self._answer, -torch.inf)
            margins = logits.gather(1, self._answer) - others.amax(1, keepdim=True)
        else:
            margins = torch.where(self._answer > 0, logits, -logits)
        counts = torch.ones_like(margins, dtype=torch.bool) if self.targeted else self._answer > 0
        counts = counts if self._counted is None else counts & self._counted.unsqueeze(1)
        return (-margins if self.targeted else margins).flatten(1), counts.flatten(1)

    def _checked_logits(self, image: torch.Tensor, network: Callable | None = None) -> torch.Tensor:
        """Logits of an image in [0, 1]; the first ones tell whether label and network fit together."""
        logits = self.logits(image * self._width + self._low, network)
        check_finite("the network's logits are", logits, self.amp)
        if not self._checked:
            self._check(logits, image)
            self._checked = True
        return logits

    def gradient(self, total: torch.Tensor, variable: torch.Tensor) -> torch.Tensor:
        """Gradient of a scalar made from gains."""
        if not self._reentrant:
            return torch.autograd.grad(total, variable)[0]
        variable.grad = None
        total.backward()
        gradient, variable.grad = variable.grad, None
        return torch.zeros_like(variable) if gradient is None else gradient

    def _loss_of(self, i: int, loss: LossFunction, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Loss of one volume of the batch; a volume with void voxels becomes a row of the others."""
        if self._counted is not None and not self._counted[i].all():
            keep = self._counted[i].flatten()
            if not keep.any():
                return logits.sum() * 0
            logits, label = logits.flatten(2)[..., keep], label.flatten(2)[..., keep]
        return self._gate(loss, logits, label).reshape(())

    def _in_activation(self, loss: LossFunction) -> LossFunction:
        return loss.for_activation(self.activation) if isinstance(loss, SegmentationLoss) else loss

    def _hit(self, logits: torch.Tensor) -> torch.Tensor:
        """Where the network says what the label says; ties count as a hit."""
        if not classes_exclude(logits, self.activation):
            return (logits > 0) == self._answer
        # Several times faster than comparing with argmax, which would be noticeable beside the forward pass.
        return logits.gather(1, self._answer) == logits.amax(1, keepdim=True)

    def _check(self, logits: torch.Tensor, image: torch.Tensor) -> None:
        if logits.ndim < 3 or logits.shape[0] != image.shape[0] or logits.shape[2:] != image.shape[2:]:
            raise ValueError(f"logits of shape {tuple(logits.shape)} do not fit an image of {tuple(image.shape)}.")
        if image.requires_grad and not logits.requires_grad:
            raise ValueError(
                "the network passes no gradient to its input, so no gradient attack can work on it: look for argmax, "
                "detach(), torch.no_grad() or numpy in its forward()."
            )
        self._reentrant = _has_reentrant_checkpoints(logits)
        self._check_label(logits.shape[1])

    def _check_label(self, channels: int) -> None:
        label = self.label
        if self.activation == "sigmoid":
            check_class_channels(label, channels)
            return
        if label.shape[1] not in (1, channels):
            raise ValueError(f"label has {label.shape[1]} channels, not 1 (class map) or {channels} (one per class).")
        if label.shape[1] == 1 and label.max() >= max(channels, 2):
            raise ValueError(
                f"label holds class {int(label.max())}, but the network knows classes 0 to {channels - 1}; map the "
                f"labels to the network's classes, or give ignore_label={int(label.max())} if it marks voxels without "
                "a label."
            )
        if label.shape[1] > 1:
            exclusive = (label.sum(1) == 1) & (label.amax(1) == 1)
            if not (exclusive if self._counted is None else exclusive | ~self._counted).all():
                raise ValueError(
                    f"label has {label.shape[1]} channels, but with activation='softmax' each voxel must have a 1 in "
                    "exactly one of them; for classes that may overlap use activation='sigmoid'."
                )


class LostGradients:
    """Of each volume of a batch: gradients seen, share of them that was not finite, and how many were all zero."""

    def __init__(self, batch: int) -> None:
        self._steps, self._nonfinite, self._zero = torch.zeros(3, batch)

    def without(self, gradient: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
        """A gradient ``(B, C, *spatial)`` in which voxels of unknown direction have 0, and so stay as they are."""
        self._steps += active.cpu()
        largest = torch.linalg.vector_norm(gradient.flatten(1), ord=torch.inf, dim=1)
        if (~active | (torch.isfinite(largest) & (largest > 0))).all():
            return gradient
        unknown = ~torch.isfinite(gradient)
        gradient = gradient.masked_fill(unknown, 0.0)
        share = active * unknown.flatten(1).float().mean(1)
        zero = active & (gradient == 0).flatten(1).all(1)
        if (zero & (share > 0)).any():
            raise ValueError(
                f"the network's gradient is NaN or infinite in {100 * float(share.max()):.3g} % of the voxels, and "
                "nothing is left to follow: no sign of robustness. Look for sqrt, log, norm or a division at 0 in its "
                "forward(), or with amp='float16' take 'bfloat16' or None; SquareAttack needs no gradient."
            )
        self._nonfinite += share.cpu()
        self._zero += zero.cpu()
        return gradient

    def shares(self) -> dict[str, torch.Tensor]:
        """The fields ``nonfinite`` and ``zero_gradient`` of a result; warns, in words that are the same every time."""
        if not self._steps.any():
            return {}
        for lost, what, field in (
            (self._nonfinite, "NaN or infinite in some voxels", "nonfinite"),
            (self._zero, "zero everywhere at some steps", "zero_gradient"),
        ):
            if lost.any():
                warnings.warn(
                    f"the network's gradient is {what}, so the attack is weaker than it should be (see "
                    f"AttackResult.{field}): an unchanged image is no sign of robustness; try SquareAttack.",
                    stacklevel=4,
                )
        steps = self._steps.clamp(min=1)
        return {"nonfinite": self._nonfinite / steps, "zero_gradient": self._zero / steps}


def check_finite(what: str, values: torch.Tensor, amp: torch.dtype | None) -> None:
    """Refuse NaN and infinity, in few operations where there are none."""
    if torch.isfinite(values.detach().sum()) or torch.isfinite(values).all():
        return
    cause = "check the network's weights" if amp is None else f"check the network's weights, and amp={amp} by amp=None"
    raise ValueError(f"{what} not finite on this image; {cause}.")


def _counted(label: torch.Tensor, ignore_label: int | None) -> torch.Tensor | None:
    """Which voxels have a label, ``(B, *spatial)``; ``None`` if all do."""
    if ignore_label is None:
        return None
    void = label == ignore_label
    if not void.any():
        return None
    if not torch.equal(void.any(1), void.all(1)):
        raise ValueError(f"label holds ignore_label={ignore_label} in some channels of a voxel; use all or none.")
    return ~void.all(1)


def _has_reentrant_checkpoints(output: torch.Tensor) -> bool:
    """Whether torch.utils.checkpoint(use_reentrant=True) is behind an output; it allows ``backward()`` alone."""
    seen, nodes = set(), [output.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name().startswith("CheckpointFunction"):
            return True
        nodes += [following for following, _ in node.next_functions]
    return False
