# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The template of every attack: what goes in, what comes out, and what is left untouched."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, isroutine, signature
from typing import Any, ClassVar

import numpy as np
import torch
from monai.utils import convert_to_dst_type, convert_to_tensor

from monai_vafa.losses import DiceCrossEntropyLoss
from monai_vafa.outputs import check_activation

from .frozen import frozen
from .inputs import check_image_values, check_label, value_range
from .objective import Objective

__all__ = ["Attack", "AttackResult", "check_flag", "constructor_parameters"]


@dataclass(frozen=True)
class AttackResult:
    """
    What :meth:`Attack.run` returns.

    Args:
        adversarial: like the image that went in: shape, type and units.
        tables: quantisation tables ``(B, C, N, *block)`` after the last update; ``None`` where there are none.
        losses: objective of every step, ``(steps, B)``, as ascended; ``None`` for attacks without steps.
        steps: steps used by each volume, ``(B,)``; ``None`` for attacks without steps.
    """

    adversarial: torch.Tensor
    tables: torch.Tensor | None = None
    losses: torch.Tensor | None = None
    steps: torch.Tensor | None = None


def check_flag(name: str, value: bool) -> bool:
    """
    Refuse what only looks like a truth value: on MONAI's command line ``false`` arrives as a text, which is true.

    Args:
        name: name of the parameter.
        value: its value.

    Raises:
        TypeError: When it is no bool.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r} must be True or False (with a capital letter on the command line).")
    return value


def constructor_parameters(obj: Any) -> dict[str, Any]:
    """
    What an object was made with, as plain data that JSON can hold.

    Recorded are the parameters of its constructor that it keeps as attributes of the same name, as attacks, MONAI's
    metrics and most other objects do. Parameters that are objects are recorded in the same way.

    Args:
        obj: an attack, a metric, a loss, or any other object.

    Returns:
        the name of its class under ``"class"``, then each parameter.
    """
    names = [
        name
        for cls in reversed(type(obj).__mro__)
        if "__init__" in vars(cls)
        for name, parameter in signature(vars(cls)["__init__"]).parameters.items()
        if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    values = {name: _plain(getattr(obj, name)) for name in names if name != "self" and hasattr(obj, name)}
    return {"class": type(obj).__name__, **values}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers, and NaN would differ from itself
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        return _plain(value.tolist())
    if isinstance(value, (torch.device, torch.dtype, np.dtype, os.PathLike)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, type) or isroutine(value):
        return value.__qualname__
    return constructor_parameters(value)


class Attack(ABC):
    """
    Base of all attacks on segmentation networks: built without a network, called with one.

    ``adversarial = attack(network, image, label)``. During the call the network is in eval mode with constant
    weights; afterwards its modes, ``requires_grad`` and gradients are what they were, also after an error. Nothing
    of one call is kept for the next, and the global random state is left alone: same input, same seed, same answer.

    Args:
        loss: ``loss(logits, label)`` of a batch of one volume, returning a scalar, larger = worse segmentation;
            ``None`` for the attack's own, made for ``activation``.
        activation: what the network's logits mean. ``"softmax"``: each voxel has one class, that of the largest
            logit. ``"sigmoid"``: classes may overlap, a voxel has those with a logit above 0. A network with a single
            channel has one class by itself either way; the losses want ``"sigmoid"`` for it.
        targeted: descend towards ``label`` instead of ascending away from it.
        intensity_range: lowest and highest possible value of an image; ``None`` takes each volume's own range.
        amp: ``"bfloat16"`` or ``"float16"`` runs the network under autocast; ``None`` in full precision.
        seed: seeds whatever is random in the attack or in the network.
        progress: show a progress bar over the steps.

    Raises:
        ValueError: When ``intensity_range`` is not increasing, ``activation`` or ``amp`` is not known, or ``loss`` is
            one of this package for another activation.
    """

    control: ClassVar[bool] = False
    """Whether it never asks the network, and so is no attack."""
    budget: ClassVar[str | None] = None
    """Name of the parameter that bounds the change, if one does."""

    def __init__(
        self,
        *,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        activation: str = "softmax",
        targeted: bool = False,
        intensity_range: Sequence[float] | None = (0.0, 1.0),
        amp: str | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        if intensity_range is not None and not (len(intensity_range) == 2 and intensity_range[0] < intensity_range[1]):
            raise ValueError(f"intensity_range={intensity_range} must be (lowest, highest) or None.")
        if amp not in (None, "bfloat16", "float16"):
            raise ValueError(f"amp={amp!r} must be 'bfloat16', 'float16' or None.")
        self.activation = check_activation(activation)
        self.targeted = check_flag("targeted", targeted)
        self.loss = self._default_loss() if loss is None else loss
        self.intensity_range = None if intensity_range is None else tuple(float(v) for v in intensity_range)
        self.amp = amp
        self.seed = seed
        self.progress = progress

    @property
    def parameters(self) -> dict[str, Any]:
        """What the attack was made with, as plain data; ``None`` is replaced by what it stands for."""
        return {name: value for name, value in constructor_parameters(self).items() if name != "class"}

    def __call__(
        self, network: torch.nn.Module, image: torch.Tensor, label: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The adversarial image alone; see :meth:`run`."""
        return self.run(network, image, label).adversarial

    def run(
        self,
        network: torch.nn.Module,
        image: torch.Tensor,
        label: torch.Tensor | None = None,
        *,
        activation: str | None = None,
        intensity_range: Sequence[float] | None = None,
    ) -> AttackResult:
        """
        Attack a batch of volumes; each volume's attack is the one it would get alone.

        Args:
            network: returns logits ``(B, classes, *spatial)``, or a list or dict of them (see ``as_logits``).
            image: ``(B, C, *spatial)``, finite, within ``intensity_range``.
            label: what the image shows, or with ``targeted=True`` what the network shall answer. Softmax: class map
                ``(B, 1, *spatial)`` (whole numbers), or what else a ``loss`` of yours takes; sigmoid: 0 and 1,
                ``(B, classes, *spatial)``. ``None``: the network's own prediction of the clean image stands in.
            activation: stands in for the attack's own, for callers that know the network.
            intensity_range: stands in for the attack's own, for callers that know the range of a larger volume.

        Raises:
            TypeError: When ``network`` is no module.
            ValueError: When image, label or network don't fit together or hold impossible values; the message
                names which.
        """
        if not isinstance(network, torch.nn.Module):
            raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}.")
        if self.targeted and label is None:
            raise ValueError("a targeted attack needs label: the map that the network shall answer.")
        plain: torch.Tensor = convert_to_tensor(image, track_meta=False)
        self.check_image(plain.shape)
        check_image_values(plain)
        device = next((p.device for p in network.parameters()), plain.device)
        plain = plain.detach().to(device, torch.float32)
        low, width = value_range(plain, intensity_range or self.intensity_range)
        label = None if label is None else check_label(label, plain).to(device)

        cuda = [device] if device.type == "cuda" else []
        # An evaluator calls this under no-grad, a trainer under autocast.
        with (
            torch.random.fork_rng(devices=cuda),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            frozen(network),
        ):
            # Not torch.manual_seed, which would seed the other GPUs too, and those are not put back.
            torch.default_generator.manual_seed(self.seed)
            if cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(self.seed)
            objective = Objective(
                network,
                self.loss,
                label,
                plain,
                low=low,
                width=width,
                targeted=self.targeted,
                activation=self.activation if activation is None else check_activation(activation),
                amp=None if self.amp is None else getattr(torch, self.amp),
            )
            result = self._generate(objective, (plain - low) / width)
        adversarial = (result.adversarial.detach().clamp(0, 1) * width + low).to(image.device)
        adversarial = convert_to_dst_type(adversarial, image, dtype=torch.float32)[0]
        return AttackResult(adversarial, result.tables, result.losses, result.steps)

    def check_image(self, shape: Sequence[int]) -> None:
        """
        Refuse image (or window) shapes that the attack can't work on.

        Args:
            shape: ``(B, C, *spatial)``.

        Raises:
            ValueError: When it is not a batch of 2-D or 3-D images.
        """
        if len(shape) not in (4, 5):
            raise ValueError(f"image must be (B, C, H, W, D) or (B, C, H, W), got shape {tuple(shape)}.")

    def _default_loss(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The loss of attacks that are given none."""
        return DiceCrossEntropyLoss()

    @property
    def threat_model(self) -> str:
        """One line for reports: what the attacker knows, wants and may change."""
        goal = "a given answer" if self.targeted else "any wrong answer"
        return f"{self._knowledge}, aims at {goal}"

    @property
    def _knowledge(self) -> str:
        """What the attacker knows."""
        return "white box (weights, gradients and the labels of each window are known)"

    @abstractmethod
    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        """
        The attack proper.

        Args:
            objective: gives losses of an adversarial image in [0, 1].
            image: clean image ``(B, C, *spatial)`` in [0, 1], float32, on the network's device.

        Returns:
            the result with ``adversarial`` on the scale of ``image``.
        """
