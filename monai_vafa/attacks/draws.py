# SPDX-License-Identifier: Apache-2.0
"""Random numbers that belong to a volume: not to the call, the batch, the order, the memory layout or the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property

import torch

Key = Sequence[int | str]
"""What tells a volume from others, such as the name of a case and the position of a window."""
_PARTS = 16


class Draws:
    """Random numbers for each volume of a batch; nothing is computed until the first is drawn."""

    def __init__(self, seed: int, volumes: torch.Tensor, keys: Sequence[Key] | None = None) -> None:
        if keys is not None and len(keys) != len(volumes):
            raise ValueError(f"keys has {len(keys)} entries for {len(volumes)} volumes; give one for each.")
        self._seed = seed
        self._volumes = volumes
        self._keys = keys

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """One per volume, on the CPU: the same numbers on every device."""
        keys = volume_keys(self._volumes) if self._keys is None else self._keys
        return [_generator(self._seed, key) for key in keys]

    def of(self, draw: Callable[..., torch.Tensor]) -> torch.Tensor:
        """``torch.rand`` or ``torch.randn`` of the shape of the volumes."""
        drawn = [draw(self._volumes.shape[1:], generator=generator) for generator in self.generators]
        return torch.stack(drawn).to(self._volumes)


def volume_keys(volumes: torch.Tensor) -> list[Key]:
    """Keys of volumes without a name: where each part is brightest, which neither rounding nor another unit changes."""
    parts = [volume.flatten().tensor_split(min(_PARTS, volume.numel())) for volume in volumes]
    return [tuple(int(part.argmax()) for part in of_volume) for of_volume in parts]


def _generator(seed: int, key: Key) -> torch.Generator:
    name = repr((int(seed), *map(str, key)))
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")
    return torch.Generator().manual_seed(number)
