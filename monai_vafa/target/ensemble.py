# SPDX-License-Identifier: Apache-2.0
"""Several models as one, for an attacker who has these and not the one that is to be fooled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from monai_vafa.outputs import as_logits

from .target import Target

# What attacks and scores take from one model for all.
_SHARED = ("class_names", "activation", "intensity_range", "roi_size", "slice_axis", "ignore_label", "device")
_KEYS = ("image_key", "label_key")


class Ensemble:
    """
    A :class:`Target` whose logits are the mean of those of several targets; all else is that of the first.

    Args:
        name: of the ensemble.
        targets: name -> model, at least two.

    Raises:
        ValueError: If they differ in classes, activation, windows, range of intensities, void label, device or keys of
            a case; :meth:`preprocess` raises one if they make different images of a case.
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
        return MeanNetwork(*(target.network for target in self._targets.values()))

    @property
    def parameters(self) -> dict[str, Any]:
        """See :attr:`Target.parameters`."""
        return {"ensemble": {name: target.parameters for name, target in self._targets.items()}}

    def preprocess(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """See :meth:`Target.preprocess`."""
        made = self._first.preprocess(item)
        image = made[self.image_key]
        for name, target in self._targets.items():
            other = image if target is self._first else target.preprocess(item)[self.image_key]
            same = other.shape == image.shape and torch.allclose(other.affine, image.affine, atol=1e-3)
            if not (same and torch.allclose(other, image, atol=1e-3)):
                raise ValueError(f"ensemble {self.name!r}: {name!r} preprocesses {item[self.image_key]!r} differently.")
        return made

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """See :meth:`Target.logits`."""
        return torch.stack([target.logits(image) for target in self._targets.values()]).mean(0)


class MeanNetwork(torch.nn.Module):
    """Gives the mean of the logits of several networks."""

    def __init__(self, *networks: torch.nn.Module) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, classes, *spatial)``."""
        # Networks may work in place.
        return torch.stack([as_logits(network(image.clone())) for network in self.networks]).mean(0)
