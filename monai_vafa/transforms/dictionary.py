# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms: each attack under its short name, with MONAI's names for dictionary versions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import torch
from monai.config import KeysCollection

from monai_vafa.attacks import Attack

from . import array
from .attack import AttackTransformd

__all__ = [
    "APGDD",
    "BIMD",
    "FGSMD",
    "GND",
    "MIFGSMD",
    "PFAD",
    "PGDD",
    "VAFAD",
    "APGDDict",
    "APGDd",
    "BIMDict",
    "BIMd",
    "CosPGDD",
    "CosPGDDict",
    "CosPGDd",
    "FGSMDict",
    "FGSMd",
    "GNDict",
    "GNd",
    "MIFGSMDict",
    "MIFGSMd",
    "PFADict",
    "PFAd",
    "PGDDict",
    "PGDd",
    "SegPGDD",
    "SegPGDDict",
    "SegPGDd",
    "SquareD",
    "SquareDict",
    "Squared",
    "VAFADict",
    "VAFAd",
]


class NamedAttackTransformd(AttackTransformd):
    """
    Dictionary-based version of the transforms that are each one attack.

    Example::

        Compose([LoadImaged(["image", "label"]), ..., VAFAd("image", network, label_key="label", q_max=20, steps=20)])

    Args:
        keys: keys of the images to attack.
        network: the network to attack; left as it was.
        label_key: key of the label map; ``None``: the network's own prediction of the clean image stands in.
        roi_size: see :class:`AttackTransform`.
        sw_batch_size: see :class:`AttackTransform`.
        allow_missing_keys: don't raise an exception if a key is missing.
        kwargs: parameters of the attack, see ``attack_class``.
    """

    attack_class: ClassVar[type[Attack]]

    def __init__(
        self,
        keys: KeysCollection,
        network: torch.nn.Module,
        label_key: Hashable | None = None,
        roi_size: Sequence[int] | int | None = None,
        sw_batch_size: int = 1,
        allow_missing_keys: bool = False,
        **kwargs: Any,
    ) -> None:
        attack = self.attack_class(**kwargs)
        super().__init__(keys, network, attack, label_key, roi_size, sw_batch_size, allow_missing_keys)


class VAFAd(NamedAttackTransformd):
    """Dictionary-based version of :class:`VAFA`."""

    attack_class = array.VAFA.attack_class


class FGSMd(NamedAttackTransformd):
    """Dictionary-based version of :class:`FGSM`."""

    attack_class = array.FGSM.attack_class


class BIMd(NamedAttackTransformd):
    """Dictionary-based version of :class:`BIM`."""

    attack_class = array.BIM.attack_class


class PGDd(NamedAttackTransformd):
    """Dictionary-based version of :class:`PGD`."""

    attack_class = array.PGD.attack_class


class MIFGSMd(NamedAttackTransformd):
    """Dictionary-based version of :class:`MIFGSM`."""

    attack_class = array.MIFGSM.attack_class


class SegPGDd(NamedAttackTransformd):
    """Dictionary-based version of :class:`SegPGD`."""

    attack_class = array.SegPGD.attack_class


class CosPGDd(NamedAttackTransformd):
    """Dictionary-based version of :class:`CosPGD`."""

    attack_class = array.CosPGD.attack_class


class APGDd(NamedAttackTransformd):
    """Dictionary-based version of :class:`APGD`."""

    attack_class = array.APGD.attack_class


class PFAd(NamedAttackTransformd):
    """Dictionary-based version of :class:`PFA`."""

    attack_class = array.PFA.attack_class


class Squared(NamedAttackTransformd):
    """Dictionary-based version of :class:`Square`."""

    attack_class = array.Square.attack_class


class GNd(NamedAttackTransformd):
    """
    Dictionary-based version of :class:`GN`.

    Args:
        keys: keys of the images to change.
        network: not looked at.
        kwargs: see :class:`NamedAttackTransformd`.
    """

    attack_class = array.GN.attack_class

    def __init__(self, keys: KeysCollection, network: torch.nn.Module | None = None, **kwargs: Any) -> None:
        super().__init__(keys, torch.nn.Identity() if network is None else network, **kwargs)


VAFAD = VAFADict = VAFAd
FGSMD = FGSMDict = FGSMd
BIMD = BIMDict = BIMd
PGDD = PGDDict = PGDd
MIFGSMD = MIFGSMDict = MIFGSMd
SegPGDD = SegPGDDict = SegPGDd
CosPGDD = CosPGDDict = CosPGDd
APGDD = APGDDict = APGDd
PFAD = PFADict = PFAd
SquareD = SquareDict = Squared
GND = GNDict = GNd
