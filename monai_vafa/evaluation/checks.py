# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation refuses before it starts, and how it tells why something failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from monai.utils import ensure_tuple_rep

from monai_vafa.attacks import Attack, SlidingWindowAttack
from monai_vafa.attacks.controls import Control

__all__ = ["CLEAN", "check_attacks", "root_cause"]

CLEAN = "clean"


def check_attacks(
    attacks: Mapping[str, Attack],
    windows: SlidingWindowAttack,
    target: Callable[..., Any] | None,
    activation: str = "softmax",
) -> None:
    """
    Refuse attacks that can't be run.

    Args:
        attacks: name -> attack.
        windows: how an attack covers a whole volume.
        target: what targeted attacks aim at.
        activation: that of the network, ``"softmax"`` or ``"sigmoid"``.

    Raises:
        ValueError: When there is none, a name does not do for a file name, a targeted attack has no target, an attack
            is for another activation, or a window does not suit an attack.
    """
    if not attacks:
        raise ValueError("attacks is empty: name at least one.")
    for name, attack in attacks.items():
        if name == CLEAN or not name.translate(dict.fromkeys(map(ord, "-_."))).isalnum():
            raise ValueError(f"attack name {name!r} must be made of letters, digits, -, _ and ., and not be {CLEAN!r}.")
        if attack.targeted and target is None:
            raise ValueError(f"attack {name!r} is targeted, so target must say what it aims at, e.g. EraseClass(1).")
        if attack.activation != activation and not isinstance(attack, Control):
            raise ValueError(
                f"attack {name!r} is for activation={attack.activation!r}, but the evaluation has {activation!r}: give "
                "both the same."
            )
        dims = 3 if isinstance(windows.roi_size, int) else len(windows.roi_size)
        if min(roi_size := ensure_tuple_rep(windows.roi_size, dims)) > 0:
            attack.check_image((1, 1, *roi_size))


def root_cause(error: BaseException) -> str:
    """Type and message of the error behind an error: MONAI says which transform failed, and the reason only there."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
