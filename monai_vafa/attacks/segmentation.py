# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""PGD with losses made for segmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from monai_vafa.losses import CosPGDLoss, SegPGDLoss

from .voxel import ProjectedGradientDescent

__all__ = ["CosPGD", "SegPGD"]


class SegPGD(ProjectedGradientDescent):
    """
    SegPGD: first turn the voxels that are still right, then push also the wrong ones (Gu et al., ECCV 2022).

    Step ``t`` of ``T``, counted from 0, weights the cross entropy of wrong voxels by ``lambda_t = t / 2T`` and that
    of correct ones by ``1 - lambda_t`` (arXiv 2207.12391, Algorithm 1). The paper has no targeted form.

    Args:
        kwargs: see :class:`monai_vafa.attacks.ProjectedGradientDescent`, but for ``loss``, ``targeted`` and ``recipe``.
            The better of several starts is the one with the higher cross entropy, both weighted alike.

    Raises:
        TypeError: When ``loss``, ``targeted`` or ``recipe`` is given.
        ValueError: When a parameter is out of range.
    """

    def __init__(self, **kwargs: Any) -> None:
        _refuse(self, kwargs, ("loss", "targeted", "recipe"))
        super().__init__(**kwargs)

    def _default_loss(self) -> SegPGDLoss:
        return SegPGDLoss()

    def _loss_at(self, step: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return SegPGDLoss(step / (2 * self.steps))


class CosPGD(ProjectedGradientDescent):
    """
    CosPGD: cross entropy weighted by how well each voxel's probabilities agree with its label (arXiv 2302.02213).

    Targeted, the weight is one minus that agreement with the wanted label.

    Args:
        targeted: descend towards ``label``.
        kwargs: see :class:`monai_vafa.attacks.ProjectedGradientDescent`, but for ``loss`` and ``recipe``.

    Raises:
        TypeError: When ``loss`` or ``recipe`` is given.
        ValueError: When a parameter is out of range.
    """

    def __init__(self, *, targeted: bool = False, **kwargs: Any) -> None:
        _refuse(self, kwargs, ("loss", "recipe"))
        super().__init__(targeted=targeted, **kwargs)

    def _default_loss(self) -> CosPGDLoss:
        return CosPGDLoss(self.targeted)


def _refuse(attack: ProjectedGradientDescent, given: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if name in given:
            raise TypeError(f"{type(attack).__name__} takes no {name}: it is part of the attack.")
