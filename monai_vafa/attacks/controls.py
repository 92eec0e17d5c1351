# SPDX-License-Identifier: Apache-2.0
"""Controls: noise, and what the ingredients of VAFA do by themselves, without asking the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from monai_vafa.frequency import block_sides, block_spectrum, quantize_image, spectrum_to_image

from .base import Attack, AttackResult
from .checks import check_choice, check_positive
from .gradient import LEVELS
from .objective import LossFunction, Objective
from .pgd import RECIPES, Recipe
from .sa2 import in_band
from .vafa import stretch_slices


@dataclass(kw_only=True, eq=False, repr=False)
class Control(Attack):
    """
    Base of the changes that never ask the network, so there is no ``loss`` and no aim.

    ``activation``, ``amp`` and ``progress`` have no effect; they are accepted so that controls and attacks can be made
    with the same settings.
    """

    control = True

    loss: LossFunction | None = field(default=None, init=False)
    targeted: bool = field(default=False, init=False)

    @property
    def threat_model(self) -> str:
        return "none: a control that never asks the network"


@dataclass(kw_only=True, eq=False, repr=False)
class QuantizeOnly(Control):
    """
    Quantise every DCT coefficient with one and the same step: compression, not an attack.

    Args:
        q: quantisation step in intensity levels (0-255 scale); take the ``q_max`` of the attack it stands beside.
        block_size: block side in voxels, an int or one per axis.

    All others: see :class:`Attack`.
    """

    budget = "q"

    q: float = 20.0
    block_size: int | Sequence[int] = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self.q = check_positive("q", self.q)

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return AttackResult(quantize_image(image, self.q, block_sides(self.block_size, image.ndim - 2)))


@dataclass(kw_only=True, eq=False, repr=False)
class BandDrop(Control):
    """
    Set the DCT coefficients of a band to 0, block by block: what the network makes of an image without it.

    Args:
        band: ``"low"``, ``"middle"`` or ``"high"``, see :class:`SpectrumAdversarialAttack`. The mean of a block stays.
        block_size: block side in voxels, an int or one per axis.

    All others: see :class:`Attack`.
    """

    band: Literal["low", "middle", "high"] = "high"
    block_size: int | Sequence[int] = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("band", self.band, ("low", "middle", "high"))

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        sides = block_sides(self.block_size, image.ndim - 2)
        dropped = block_spectrum(image, sides).masked_fill(in_band(sides, self.band).to(image.device), 0.0)
        return AttackResult(spectrum_to_image(dropped, image.shape[2:]))


class RescaleOnly(Control):
    """
    Stretch every axial slice of the window to [0, 1], as the released VAFA code does: neither quantisation nor attack.

    A 2-D image is one slice. Parameters: see :class:`Attack`.
    """

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return AttackResult(stretch_slices(image))


@dataclass(kw_only=True, eq=False, repr=False)
class GaussianNoise(Control):
    """
    Add Gaussian noise and clip to the intensity range (GN).

    Args:
        sigma: standard deviation in intensity levels (0-255 scale); take the ``eps`` of the attack it stands beside.
        recipe: ``"tuned"`` or ``"upstream"``, which are the same; for symmetry with the attacks of the released code.

    All others: see :class:`Attack`.
    """

    budget = "sigma"

    sigma: float = 4.0
    recipe: Recipe = "tuned"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sigma = check_positive("sigma", self.sigma)
        check_choice("recipe", self.recipe, RECIPES)

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return AttackResult(image + self.sigma / LEVELS * objective.draws.of(torch.randn))
