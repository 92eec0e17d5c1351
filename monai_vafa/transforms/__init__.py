# SPDX-License-Identifier: Apache-2.0
"""
Attacks and frequency corruptions as MONAI transforms, array and dictionary versions.

There are transforms for all entries of :data:`monai_vafa.attacks.ROSTER` that name one, such as ``VAFA`` and ``VAFAd``
(or ``VAFAD``, ``VAFADict``): they are made from the attack when they are asked for.
"""

from __future__ import annotations

from typing import Any

from monai_vafa.attacks import ROSTER, Attack

from .attack import AttackTransform
from .quantize import FrequencyQuantize, RandFrequencyQuantize
from .versions import attack_transforms, dictionary_version

AttackTransformd = AttackTransformD = AttackTransformDict = dictionary_version(AttackTransform)
FrequencyQuantized = FrequencyQuantizeD = FrequencyQuantizeDict = dictionary_version(FrequencyQuantize)
RandFrequencyQuantized = RandFrequencyQuantizeD = RandFrequencyQuantizeDict = dictionary_version(RandFrequencyQuantize)

_SPELLINGS = ("", "d", "D", "Dict")


def _of_roster() -> dict[str, tuple[str, type[Attack], bool]]:
    """Each name of a transform in the roster: its array name, its attack, and whether it is a dictionary version."""
    named = [(entry.transform, entry.attack) for entry in ROSTER.values() if entry.transform is not None]
    return {name + end: (name, attack, end != "") for name, attack in named for end in _SPELLINGS}


def __getattr__(name: str) -> Any:
    if name not in (known := _of_roster()):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    array_name, attack, dictionary = known[name]
    return attack_transforms(array_name, attack)[dictionary]


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in _of_roster() if name not in __all__)])


__all__ = [
    *(name + end for name in ("AttackTransform", "FrequencyQuantize", "RandFrequencyQuantize") for end in _SPELLINGS),
    *_of_roster(),
]
