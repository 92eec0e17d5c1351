# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Array transforms: each attack under its short name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from monai_vafa import attacks
from monai_vafa.attacks import Attack

from .attack import AttackTransform

__all__ = [
    "APGD",
    "BIM",
    "FGSM",
    "GN",
    "MIFGSM",
    "PFA",
    "PGD",
    "VAFA",
    "CosPGD",
    "SegPGD",
    "Square",
]


class NamedAttackTransform(AttackTransform):
    """
    Base of the transforms that are each one attack, and take its parameters as their own.

    Args:
        network: the network to attack; left as it was.
        roi_size: see :class:`AttackTransform`.
        sw_batch_size: see :class:`AttackTransform`.
        kwargs: parameters of the attack, see ``attack_class``.
    """

    attack_class: ClassVar[type[Attack]]

    def __init__(
        self,
        network: torch.nn.Module,
        roi_size: Sequence[int] | int | None = None,
        sw_batch_size: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, self.attack_class(**kwargs), roi_size, sw_batch_size)


class VAFA(NamedAttackTransform):
    """Volumetric Adversarial Frequency Attack, see :class:`monai_vafa.attacks.VolumetricFrequencyAttack`."""

    attack_class = attacks.VolumetricFrequencyAttack


class FGSM(NamedAttackTransform):
    """FGSM: one step along the sign of the gradient, see :class:`monai_vafa.attacks.FastGradientSign`."""

    attack_class = attacks.FastGradientSign


class BIM(NamedAttackTransform):
    """BIM: sign steps from the clean image, see :class:`monai_vafa.attacks.BasicIterative`."""

    attack_class = attacks.BasicIterative


class PGD(NamedAttackTransform):
    """PGD: sign steps from random starts, see :class:`monai_vafa.attacks.ProjectedGradientDescent`."""

    attack_class = attacks.ProjectedGradientDescent


class MIFGSM(NamedAttackTransform):
    """MIFGSM: sign steps with momentum, see :class:`monai_vafa.attacks.MomentumIterative`."""

    attack_class = attacks.MomentumIterative


class SegPGD(NamedAttackTransform):
    """PGD that first turns the voxels that are still right, see :class:`monai_vafa.attacks.SegPGD`."""

    attack_class = attacks.SegPGD


class CosPGD(NamedAttackTransform):
    """PGD with a cross entropy weighted by agreement with the label, see :class:`monai_vafa.attacks.CosPGD`."""

    attack_class = attacks.CosPGD


class APGD(NamedAttackTransform):
    """PGD that finds its own step size, see :class:`monai_vafa.attacks.AutoPGD`."""

    attack_class = attacks.AutoPGD


class PFA(NamedAttackTransform):
    """A frequency attack where it is hard to see, see :class:`monai_vafa.attacks.PerceptualFrequencyAttack`."""

    attack_class = attacks.PerceptualFrequencyAttack


class Square(NamedAttackTransform):
    """Square: random cubes, without gradients, see :class:`monai_vafa.attacks.SquareAttack`."""

    attack_class = attacks.SquareAttack


class GN(NamedAttackTransform):
    """
    GN: Gaussian noise, see :class:`monai_vafa.attacks.GaussianNoise`; the same noise for the same ``seed``.

    For a new draw at each call there is :class:`monai.transforms.RandGaussianNoise`.

    Args:
        network: not looked at; accepted so that the control can stand wherever an attack stands.
        kwargs: see :class:`NamedAttackTransform`.
    """

    attack_class = attacks.GaussianNoise

    def __init__(self, network: torch.nn.Module | None = None, **kwargs: Any) -> None:
        super().__init__(torch.nn.Identity() if network is None else network, **kwargs)
