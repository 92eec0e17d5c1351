# SPDX-License-Identifier: Apache-2.0
"""Spectrum Adversarial Attack (SA2), the successor of VAFA by the same authors, and its slice-wise form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from monai_vafa.frequency import block_sides, block_spectrum, spectrum_to_image, split_blocks
from monai_vafa.losses import BlockSSIMLoss

from .base import AttackResult
from .checks import check_choice, check_number, check_positive
from .draws import Draws
from .gradient import IterativeAttack, Perturbation, where_active
from .objective import Objective


@dataclass(kw_only=True, eq=False, repr=False)
class SpectrumAdversarialAttack(IterativeAttack):
    """
    SA2: learn a factor for each DCT coefficient of a block.

    Hanif et al., "On Frequency Domain Adversarial Vulnerabilities of Volumetric Medical Image Segmentation", ISBI 2025:
    ``x' = IDCT(f * DCT(x))`` block by block, with ``f = 1`` for the mean of a block (DC), and
    ``f <- clip(f + step_size sign(dL/df), 1 - rho, 1 + rho)`` with ``L = loss_weight * L_seg(M(x'), y) -
    similarity_weight * (1 - SSIM(x, x'))``. As in the authors' released code, SSIM is that of the whole window
    (Gaussian window of 3 voxels), and returned is the image of the last step, made before its update.

    Args:
        rho: largest change of a factor, above 0 and at most 1.
        step_size: change of a factor per step.
        block_size: block side in voxels, an int or one per axis. A window whose side is not a multiple of it is padded
            with its edge values.
        band: coefficients that change: ``"all"``, or by the sum of their indices ``"low"`` (below half the block side),
            ``"high"`` (as near to the largest sum) or ``"middle"`` (the rest); where sides differ, an index counts as
            if its side were the longest. The mean of a block never changes.
        loss_weight: weight of the segmentation loss, above 0.
        similarity_weight: weight of the similarity, at least 0.
        random_start: start at random factors; ``False`` starts at 1.
        loss: ``None`` for :class:`monai_vafa.losses.DiceCrossEntropyLoss`.

    All others: see :class:`IterativeAttack`. ``tables`` of the result are the factors after the last update, and
    ``losses`` are in units of the segmentation loss.

    Raises:
        ValueError: If a parameter is out of range.
    """

    budget = "rho"
    _reports_tables = True

    rho: float = 0.4
    step_size: float = 0.1
    steps: int = 10
    block_size: int | Sequence[int] = 16
    band: Literal["all", "low", "middle", "high"] = "all"
    loss_weight: float = 0.2
    similarity_weight: float = 0.75
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rho = check_positive("rho", self.rho)
        if self.rho > 1:
            raise ValueError(f"rho={self.rho:g} must be at most 1: factors are between 1 - rho and 1 + rho.")
        self.step_size = check_positive("step_size", self.step_size)
        self.loss_weight = check_positive("loss_weight", self.loss_weight)
        if check_number("similarity_weight", self.similarity_weight) < 0:
            raise ValueError(f"similarity_weight={self.similarity_weight} must be at least 0.")
        check_choice("band", self.band, ("all", "low", "middle", "high"))
        block_sides(self.block_size, 3, in_plane=self.in_plane)  # checks it

    def check_image(self, shape: Sequence[int]) -> None:
        super().check_image(shape)
        if self.similarity_weight and any(side == 2 for side in shape[2:]):
            raise ValueError(f"image has sides {tuple(shape[2:])}, SSIM needs at least 3; use similarity_weight=0.")

    @property
    def threat_model(self) -> str:
        blocks = "x".join(map(str, block_sides(self.block_size, 3, in_plane=self.in_plane)))
        which = "" if self.band == "all" else f"{self.band} "
        bound = f"each {which}DCT coefficient of {blocks} blocks, but their mean, by {100 * self.rho:g} %"
        return f"{super().threat_model}; may change: {bound}; no bound on L-inf"

    def _perturbation(self, image: torch.Tensor) -> _FactorPerturbation:
        return _FactorPerturbation(self, image)

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        perturbation = self._perturbation(image)
        if self.random_start:
            perturbation.start_anywhere(objective.draws)
        return self._climb(objective, image, perturbation, self.steps)


@dataclass(kw_only=True, eq=False, repr=False)
class SliceSpectrumAdversarialAttack(SpectrumAdversarialAttack):
    """
    SA2 with a 2-D DCT on every axial slice by itself; also for 2-D networks on images, which count as one slice.

    Args:
        block_size: block side in voxels within a slice, an int or one per in-plane axis.

    All others: see :class:`SpectrumAdversarialAttack` and :class:`Attack`.
    """

    in_plane = True


class _FactorPerturbation(Perturbation):
    """Factors of one run."""

    def __init__(self, attack: SpectrumAdversarialAttack, clean: torch.Tensor) -> None:
        self._attack = attack
        self._clean = clean
        self._block = block_sides(attack.block_size, clean.ndim - 2, in_plane=attack.in_plane)
        self._spectrum = block_spectrum(clean, self._block)
        self._moving = in_band(self._block, attack.band).to(clean.device)
        self._similarity = BlockSSIMLoss(tuple(clean.shape[2:]), reduction="none")
        self.variable = torch.ones_like(self._spectrum)

    def start_anywhere(self, draws: Draws) -> None:
        """Move to uniformly random factors."""
        self.variable = 1 + self._attack.rho * (2 * split_blocks(draws.of(torch.rand), self._block) - 1)

    def image(self, step: int) -> torch.Tensor:
        factors = torch.where(self._moving, self.variable, 1.0)
        return spectrum_to_image(self._spectrum * factors, self._clean.shape[2:])

    def dissimilarity(self, image: torch.Tensor) -> torch.Tensor | float:
        weight = self._attack.similarity_weight / self._attack.loss_weight
        return weight * self._similarity(image, self._clean) if weight else 0.0

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        rho, moved = self._attack.rho, self.variable + self._attack.step_size * gradient.sign()
        self.variable = where_active(active, moved.clamp(1 - rho, 1 + rho), self.variable)


def in_band(block: Sequence[int], band: str) -> torch.Tensor:
    """Which coefficients of a block belong to a band, without its mean; indices of shorter sides count for more."""
    steps = [torch.arange(side) * (max(block) / side) for side in block]
    index = torch.stack(torch.meshgrid(*steps, indexing="ij")).sum(0)
    low, high = index < max(block) // 2, index > index.max() - max(block) // 2
    return {"all": low | ~low, "low": low, "middle": ~low & ~high, "high": high}[band] & (index > 0)
