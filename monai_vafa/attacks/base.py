# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The base of every attack: what goes in, what comes out, and what is left untouched."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isroutine, signature
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from monai.utils import convert_to_dst_type, convert_to_tensor

from monai_vafa.losses import DiceCrossEntropyLoss
from monai_vafa.outputs import Activation, check_activation

from .checks import check_choice, check_flag, check_image_values, check_label, value_range
from .objective import LossFunction, Objective

__all__ = ["Attack", "AttackResult", "constructor_parameters"]


@dataclass(frozen=True)
class AttackResult:
    """
    What :meth:`Attack.run` returns.

    Args:
        adversarial: like the image that went in: shape, type and units.
        tables: quantisation tables ``(B, C, N, *block)`` after the last update; ``None`` for attacks without tables.
        losses: objective at every step, ``(steps, B)``, as ascended; ``None`` for attacks without steps.
        steps: steps used by each volume, ``(B,)``; ``None`` for attacks without steps.
    """

    adversarial: torch.Tensor
    tables: torch.Tensor | None = None
    losses: torch.Tensor | None = None
    steps: torch.Tensor | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class Attack(ABC):
    """
    Base of all attacks on segmentation networks: built without a network, called with one.

    ``adversarial = attack(network, image, label)``. During the call the network is in eval mode with constant
    weights; afterwards its modes, ``requires_grad`` and gradients are what they were, also after an error. Nothing is
    kept from one call to the next, and the global random state is left alone: same input, same seed, same answer.

    Attacks are dataclasses: a subclass adds parameters as fields, checks them in ``__post_init__``, and makes the
    adversarial image in :meth:`_generate`.

    Args:
        loss: ``loss(logits, label)`` of a batch of one volume, returning a scalar; larger means a worse segmentation.
            ``None``: the attack's own.
        activation: what the logits of the network mean. ``"softmax"``: each voxel has one class, that of the largest
            logit. ``"sigmoid"``: classes may overlap, and a voxel has all classes with a logit above 0; also for
            networks with a single output channel. The losses of this package follow it.
        targeted: descend towards ``label`` instead of ascending away from it.
        intensity_range: lowest and highest possible value of an image; ``None`` takes the own range of each volume.
        amp: ``"bfloat16"`` or ``"float16"`` runs the network under autocast; ``None`` in full precision.
        seed: seeds whatever is random in the attack or in the network.
        progress: show a progress bar over the steps.

    Raises:
        TypeError: If a parameter is unknown or ``targeted`` is not a bool.
        ValueError: If a parameter has an impossible value.
    """

    control: ClassVar[bool] = False
    """Whether it never asks the network: a control to compare attacks with."""
    budget: ClassVar[str | None] = None
    """Name of the parameter that bounds the change, if there is one."""

    loss: LossFunction | None = None
    activation: Activation = "softmax"
    targeted: bool = False
    intensity_range: Sequence[float] | None = (0.0, 1.0)
    amp: Literal["bfloat16", "float16"] | None = None
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_flag("targeted", self.targeted)
        check_choice("amp", self.amp, ("bfloat16", "float16", None))
        if self.intensity_range is not None:
            if len(self.intensity_range) != 2 or not self.intensity_range[0] < self.intensity_range[1]:
                raise ValueError(f"intensity_range={self.intensity_range} must be (lowest, highest) or None.")
            self.intensity_range = tuple(float(value) for value in self.intensity_range)
        if self.loss is None:
            self.loss = self._default_loss()

    def __repr__(self) -> str:
        """The call that makes such an attack, without what is at its default."""
        try:
            defaults = type(self)().parameters
        except TypeError:
            defaults = {}
        changed = [
            f"{name}={v!r}" for name, v in self.parameters.items() if name not in defaults or defaults[name] != v
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    @property
    def parameters(self) -> dict[str, Any]:
        """What the attack was made with, as plain data; values left to the attack are those it chose."""
        return {name: value for name, value in constructor_parameters(self).items() if name != "class"}

    @property
    def threat_model(self) -> str:
        """One line for reports: what the attacker knows, wants and may change."""
        goal = "a given answer" if self.targeted else "any wrong answer"
        return f"{self._knowledge}, aims at {goal}"

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
            network: returns logits ``(B, classes, *spatial)``, or a list or dict of them (see
                :func:`monai_vafa.outputs.as_logits`).
            image: ``(B, C, *spatial)``, finite, within ``intensity_range``.
            label: what the image shows, or with ``targeted=True`` what the network is to predict. Softmax: class map
                ``(B, 1, *spatial)`` of integers; sigmoid: 0 and 1, ``(B, classes, *spatial)``. ``None``: the network's
                own prediction of the clean image.
            activation: replaces the attack's own, for callers that know the network.
            intensity_range: replaces the attack's own, for callers that know the range of a larger volume.

        Raises:
            TypeError: If ``network`` is not a module.
            ValueError: If image, label or network do not fit together or hold impossible values; the message says
                which.
        """
        if not isinstance(network, torch.nn.Module):
            raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}.")
        if self.targeted and label is None:
            raise ValueError("a targeted attack needs label: the map that the network is to predict.")
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
            _frozen(network),
        ):
            # torch.manual_seed would also seed the other GPUs, whose state is not restored.
            torch.default_generator.manual_seed(self.seed)
            if cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(self.seed)
            objective = Objective(
                network,
                cast(LossFunction, self.loss),
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
        """Raise a ValueError if the attack can't work on images (or windows) of this shape ``(B, C, *spatial)``."""
        if len(shape) not in (4, 5):
            raise ValueError(f"image must be (B, C, H, W, D) or (B, C, H, W), got shape {tuple(shape)}.")

    def _default_loss(self) -> LossFunction:
        """The loss of attacks that are given none."""
        return DiceCrossEntropyLoss()

    @property
    def _knowledge(self) -> str:
        """What the attacker knows."""
        return "white box (weights, gradients and the labels of each window are known)"

    @abstractmethod
    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        """Attack a clean image ``(B, C, *spatial)`` in [0, 1]; ``objective(image)`` asks the network."""


@contextmanager
def _frozen(network: torch.nn.Module) -> Iterator[None]:
    """Put a network in eval mode with constant weights, and restore it at the end, also after an error."""
    modes = [(module, module.training) for module in network.modules()]
    needs_grad = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        network.eval()
        for parameter in needs_grad:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in needs_grad:
            parameter.requires_grad_(True)


def constructor_parameters(obj: Any) -> dict[str, Any]:
    """
    The class of an object and what it was made with, as plain data that JSON can hold.

    Recorded are those parameters of its constructor that it keeps as attributes of the same name, as attacks, MONAI's
    metrics and most other objects do.
    """
    try:
        names = [name for name in signature(type(obj)).parameters if hasattr(obj, name)]
    except ValueError:  # builtins without a signature
        names = []
    return {"class": type(obj).__name__, **{name: _plain(getattr(obj, name)) for name in names}}


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
