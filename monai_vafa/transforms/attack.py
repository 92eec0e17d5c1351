# SPDX-License-Identifier: Apache-2.0
"""Any attack as a transform."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.transforms import Randomizable, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from torch.utils.data import get_worker_info

from monai_vafa.attacks import Attack, SlidingWindowAttack
from monai_vafa.attacks.checks import check_network, plain_tensor


class AttackTransform(Transform, Randomizable):
    """
    Replace an image by its adversarial version.

    It counts as random for MONAI, so that no ``CacheDataset`` keeps adversarial images of a network that has changed
    since. Alone, every call uses the ``seed`` of the attack. Once :meth:`set_random_state` was called, which
    :class:`monai.transforms.Compose` and MONAI's data loaders do too, each call draws another seed.

    A worker process of a data loader attacks a copy of the network, as it was when the worker was started, and warns of
    it: in a training, use :class:`monai_vafa.handlers.AttackHandler`, which attacks the network of each iteration.

    Args:
        network: the network to attack; left as it was.
        attack: any attack of :mod:`monai_vafa.attacks`.
        roi_size: see :class:`monai_vafa.attacks.SlidingWindowAttack`; ``None`` attacks the image in one piece, for
            images that fit the network's input.
        sw_batch_size: number of windows attacked at a time.

    Raises:
        TypeError: If ``network`` is not a module.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (as MONAI does)

    def __init__(
        self,
        network: torch.nn.Module,
        attack: Attack,
        roi_size: Sequence[int] | int | None = None,
        sw_batch_size: int = 1,
    ) -> None:
        check_network(network)
        self.network = network
        self.attack = attack
        self.windows = SlidingWindowAttack(-1 if roi_size is None else roi_size, sw_batch_size)
        self._fixed = self._seeded = False

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> AttackTransform:
        """Set the state that the seeds of the attack are drawn from."""
        super().set_random_state(seed, state)
        self._seeded = True
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw the seed of the attack, if a random state was set."""
        if self._seeded and not self._fixed:
            self.attack = copy.copy(self.attack)  # others may use the attack too
            self.attack.seed = int(self.R.randint(2**31))

    def __call__(
        self, img: NdarrayOrTensor, label: NdarrayOrTensor | None = None, randomize: bool = True
    ) -> NdarrayOrTensor:
        """
        Attack one image.

        Args:
            img: channel-first ``(C, *spatial)``, see :meth:`monai_vafa.attacks.Attack.run`, also for errors.
            label: class map ``(1, *spatial)`` or one channel per class; ``None``: the network's own prediction of the
                clean image is attacked.
            randomize: draw anew before.

        Returns:
            adversarial image, like ``img`` in type, floating dtype (float32 for integers) and meta data.
        """
        if not self.attack.control and get_worker_info() is not None:
            warnings.warn(
                "a worker process attacks the network as it was when the worker was started: if the network is trained "
                "meanwhile, use persistent_workers=False (the network at the start of each epoch), num_workers=0, or "
                "monai_vafa.handlers.AttackHandler (the network of each iteration).",
                stacklevel=2,
            )
        if randomize:
            self.randomize()
        labels = None if label is None else plain_tensor("label", label)[None]
        return like_input(self.windows(self.attack, self.network, plain_tensor("img", img)[None], labels)[0], img)


def like_input(result: torch.Tensor, img: NdarrayOrTensor) -> NdarrayOrTensor:
    """A float32 result of the type that went in, with its meta data and, if that is a floating one, its dtype."""
    floating = plain_tensor("img", img[:0]).is_floating_point()
    return convert_to_dst_type(result, img, dtype=None if floating else torch.float32)[0]
