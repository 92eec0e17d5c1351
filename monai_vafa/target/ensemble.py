# SPDX-License-Identifier: Apache-2.0
"""Several models as one, for an attacker who has these and not the one that is to be fooled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from monai_vafa.outputs import as_logits

from .target import Target

_SHARED = ("class_names", "activation", "intensity_range", "roi_size", "slice_axis", "ignore_label", "device")
_KEYS = ("image_key", "label_key")


class Ensemble:
    """
    A :class:`Target` whose logits are the mean of those of several targets, name -> model; the rest is the first's.

    Raises:
        ValueError: If the targets differ in what attacks and scores take from one for all; :meth:`preprocess` raises
            one if they make different images of a case.
    """

    def __init__(self, name: str, targets: Mapping[str, Target]) -> None:
        if len(targets) < 2:
            raise ValueError(f"ensemble {name!r} of {list(targets)} must name at least two models.")
        self._targets, (first, self._first) = dict(targets), next(iter(targets.items()))
        for other, what in ((other, what) for other in targets for what in (*_SHARED, *_KEYS)):
            if (its := getattr(targets[other], what)) != (own := getattr(self._first, what)):
                raise ValueError(f"ensemble {name!r}: {what} of {other!r} is {its}, that of {first!r} {own}.")
        self.name, self.checkpoint = name, None
        self.description = f"{name}: mean of the logits of {', '.join(targets)}."

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_first"], name)

    @property
    def network(self) -> torch.nn.Module:
        """Made anew: a target whose network gives probabilities replaces it after its first prediction."""
        return MeanNetwork(target.network for target in self._targets.values())

    @property
    def parameters(self) -> dict[str, Any]:
        """See :attr:`Target.parameters`."""
        return {"ensemble": {name: target.parameters for name, target in self._targets.items()}}

    def preprocess(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """See :meth:`Target.preprocess`."""
        made = [target.preprocess(item) for target in self._targets.values()]
        first, *others = ((loaded[self.image_key], loaded[self.image_key].affine) for loaded in made)
        for pair in (pair for other in others for pair in zip(first, other, strict=True)):
            if pair[0].shape != pair[1].shape or not torch.allclose(*pair, atol=1e-3):
                raise ValueError(f"ensemble {self.name!r}: its models preprocess {item[self.image_key]!r} differently.")
        return made[0]

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """See :meth:`Target.logits`."""
        return torch.stack([target.logits(image) for target in self._targets.values()]).mean(0)


class MeanNetwork(torch.nn.ModuleList):
    """Networks as one that gives the mean of their logits, ``(B, classes, *spatial)``."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:  # networks may work in place
        return torch.stack([as_logits(network(image.clone())) for network in self]).mean(0)
