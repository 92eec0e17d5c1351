# SPDX-License-Identifier: Apache-2.0
"""The base of every attack: what goes in, what comes out, and what is left untouched."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from inspect import isroutine, signature
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from monai.utils import convert_to_dst_type

from monai_vafa.losses import DiceCrossEntropyLoss
from monai_vafa.networks.modes import at_rest
from monai_vafa.outputs import Activation, check_activation

from . import checks
from .draws import Draws, Key
from .objective import LossFunction, Objective


@dataclass(frozen=True)
class AttackResult:
    """What :meth:`Attack.run` returns; what an attack does not have is ``None``."""

    adversarial: torch.Tensor  # like the image that went in: shape, type and units
    tables: torch.Tensor | None = None  # of quantisation, (B, C, N, *block), after the last update
    losses: torch.Tensor | None = None  # objective at every step, (steps, B), as ascended
    steps: torch.Tensor | None = None  # used by each volume, (B,)
    # share of the gradient's entries, over all steps, that were NaN or infinite and gave no direction, (B,)
    nonfinite: torch.Tensor | None = None
    zero_gradient: torch.Tensor | None = None  # share of the steps whose gradient was zero everywhere, (B,)
    goal_missed: torch.Tensor | None = None  # 1 where an attack that nothing bounds did not reach its goal, (B,)


@dataclass(kw_only=True, eq=False, repr=False)
class Attack(ABC):
    """
    Base of all attacks on segmentation networks: built without a network, called with one.

    ``adversarial = attack(network, image, label)``. During the call the network is in eval mode with constant
    weights; afterwards its modes, buffers, ``requires_grad`` and gradients are what they were, also after an error.
    Nothing is kept from one call to the next, and the global random state is left alone: same input, same seed, same
    answer. Attacks of several threads take turns.

    Attacks are dataclasses: a subclass adds parameters as fields, checks them in ``__post_init__``, and makes the
    adversarial image in :meth:`_generate`.

    Args:
        loss: ``loss(logits, label)`` of a batch of one volume, returning a scalar; larger means a worse segmentation.
            Losses that want the class map without its channel, such as ``torch.nn.CrossEntropyLoss``, or one channel
            per class get that. ``None``: the attack's own.
        activation: what the logits of the network mean. ``"softmax"``: each voxel has one class, that of the largest
            logit. ``"sigmoid"``: classes may overlap, and a voxel has all classes with a logit above 0; also for
            networks with a single output channel. The losses of this package follow it.
        ignore_label: value of the label where there is none (void), in all channels: such voxels count neither for the
            loss nor for success. A loss then gets the others in one row, ``(1, classes, N)``.
        targeted: descend towards ``label`` instead of ascending away from it.
        intensity_range: lowest and highest possible value of an image; ``None`` takes the own range of each volume.
        amp: ``"bfloat16"`` or ``"float16"`` runs the network under autocast; ``None`` in full precision.
        seed: seeds whatever is random in the attack or in the network.
        progress: show a progress bar over the steps.

    Raises:
        TypeError: If a parameter is unknown or of another type, such as a number that is a string.
        ValueError: If a parameter has an impossible value.
    """

    control: ClassVar[bool] = False
    """Whether it never asks the network: a control to compare attacks with."""
    budget: ClassVar[str | None] = None
    """Name of the parameter that bounds the change, if there is one."""
    in_plane: ClassVar[bool] = False
    """Whether it works on the blocks of each axial slice by itself."""

    loss: LossFunction | None = None
    activation: Activation = "softmax"
    ignore_label: int | None = None
    targeted: bool = False
    intensity_range: Sequence[float] | None = (0.0, 1.0)
    amp: Literal["bfloat16", "float16"] | None = None
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        checks.check_fields(self)
        check_activation(self.activation)
        checks.check_choice("amp", self.amp, ("bfloat16", "float16", None))
        checks.check_levels(self)
        if self.intensity_range is not None:
            self.intensity_range = checks.check_range(self.intensity_range)
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must be at least 0.")
        if self.loss is not None and not callable(self.loss):
            raise TypeError(f"loss={self.loss!r} must be a function loss(logits, label) -> scalar, or None.")
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
        ignore_label: int | None = None,
        intensity_range: Sequence[float] | None = None,
        keys: Sequence[Key] | None = None,
    ) -> AttackResult:
        """
        Attack a batch of volumes; each volume's attack is the one it would get alone.

        Args:
            network: returns logits ``(B, classes, *spatial)``, or a list or dict of them (see
                :func:`monai_vafa.outputs.as_logits`).
            image: ``(B, C, *spatial)``, finite, within ``intensity_range``.
            label: what the image shows, or with ``targeted=True`` what the network is to predict. Softmax: class map
                ``(B, 1, *spatial)`` of integers, or one-hot; sigmoid: 0 and 1, ``(B, classes, *spatial)``. ``None``:
                the network's own prediction of the clean image.
            activation: replaces the attack's own, for callers that know the network.
            ignore_label: likewise, for callers that know the labels.
            intensity_range: likewise, for callers that know the range of a larger volume.
            keys: one per volume, such as case and window position: what is random in the attack follows from seed and
                key. ``None``: from seed and the volume's own values.

        Raises:
            TypeError: If ``network`` is not a module, or image or label not a tensor.
            ValueError: If image, label or network do not fit together or hold impossible values; the message says
                which.
        """
        checks.check_network(network)
        if self.targeted and label is None:
            raise ValueError("a targeted attack needs label: the map that the network is to predict.")
        # An evaluator calls this under no-grad or inference mode, a trainer under autocast.
        with torch.inference_mode(False), torch.enable_grad():
            plain = checks.plain_tensor("image", image)
            checks.check_image_values(plain)
            self.check_image(plain.shape)
            device = next((p.device for p in network.parameters()), plain.device)
            plain = plain.to(device, torch.float32)
            low, width = checks.value_range(
                plain, intensity_range or self.intensity_range, told=intensity_range is None
            )
            ignore_label = self.ignore_label if ignore_label is None else ignore_label
            if label is not None:
                label = checks.check_label(label, plain, ignore_label).to(device)
            cuda = [device] if device.type == "cuda" else []
            with (
                at_rest(network),
                torch.random.fork_rng(devices=cuda),
                torch.autocast(device.type, enabled=False),
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
                    ignore_label=ignore_label,
                    amp=None if self.amp is None else getattr(torch, self.amp),
                    draws=Draws(self.seed, plain, keys),
                )
                result = self._generate(objective, (plain - low) / width)
            adversarial = result.adversarial.detach().clamp(0, 1) * width + low
        like = convert_to_dst_type(adversarial, image, dtype=torch.float32)[0]
        detached = {name: value.detach() for name, value in vars(result).items() if isinstance(value, torch.Tensor)}
        return replace(result, **{**detached, **objective.lost.shares(), "adversarial": like})

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


def constructor_parameters(obj: Any) -> dict[str, Any]:
    """The class of an object and the parameters that it keeps as attributes of the same names, as plain data."""
    try:
        names = [name for name in signature(type(obj)).parameters if hasattr(obj, name)]
    except ValueError:  # builtins without a signature
        names = []
    return {"class": type(obj).__name__, **{name: plain_data(getattr(obj, name)) for name in names}}


def plain_data(value: Any) -> Any:
    """A value as JSON can hold it; of other objects what they were made with."""
    if isinstance(value, Enum):
        return plain_data(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers, and NaN would differ from itself
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        return plain_data(value.tolist())
    if isinstance(value, (torch.device, torch.dtype, np.dtype, os.PathLike)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain_data(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, type) or isroutine(value):
        return value.__qualname__
    return constructor_parameters(value)
