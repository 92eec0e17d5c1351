# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumetric Adversarial Frequency Attack (VAFA) and its slice-wise form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from monai_vafa.frequency import block_sides, block_spectrum, quantize, spectrum_to_image
from monai_vafa.losses import BlockSSIMLoss, DiceCrossEntropyLoss, SoftDiceLoss

from .base import Attack, check_flag
from .iterative import IterativeAttack, Perturbation, where_active
from .slices import rescale_slices as stretch_slices

__all__ = ["SliceFrequencyAttack", "VolumetricFrequencyAttack"]

# What the two recipes differ in. A q_init of None stands for q_max.
_RECIPES: dict[str, dict[str, Any]] = {
    "upstream": {"q_min": 5.0, "q_init": None, "loss": DiceCrossEntropyLoss, "rescale_slices": True},
    "algorithm1": {"q_min": 1.0, "q_init": 1.0, "loss": SoftDiceLoss, "rescale_slices": False},
}
_SOFTNESS_AT_START = 0.1


class VolumetricFrequencyAttack(IterativeAttack):
    """
    VAFA: learn, for each block of a volume, the quantisation table of its 3-D DCT that misleads the network most.

    Hanif et al., "Frequency Domain Adversarial Training for Robust Volumetric Medical Segmentation", MICCAI 2023,
    Eq. 1-2 and Algorithm 1: ``c = DCT(255 x - 128)``, ``x' = (IDCT(soft_round(c / q) q) + 128) / 255``, and
    ``q <- clip(q + sign(dL/dq), q_min, q_max)`` with ``L = L_seg(M(x'), y) - L_sim(x, x')``. The rounding hardens
    over the steps (softness 0.1 towards 0). Returned is the image of the last step, made before its table update.

    Two recipes differ, and every ingredient can be set by itself:

    - ``"upstream"``: the authors' released code, with which the published tables were very probably made. Tables
      start at ``q_max`` with ``q_min=5``; the loss is Dice + cross entropy; and each axial slice of what the network
      sees (and of the result) is stretched to [0, 1], which does much of the damage where slices have next to no
      contrast: see the re-scale-only control, and ``rescale_slices=False``.
    - ``"algorithm1"``: the paper's Algorithm 1 to the letter. Tables start at 1 with ``q_min=1``; soft Dice; no
      stretching. From 1 the sign steps nearly cancel, so that it changes next to nothing.

    Args:
        recipe: ``"upstream"`` or ``"algorithm1"``; gives the ingredients left at their default.
        q_max: upper bound of the tables, 1 = one gray value of 255.
        q_min: lower bound of the tables, above 0; ``None`` for the recipe's.
        q_init: where the tables start; ``None`` for the recipe's.
        step_size: change of a table entry per step.
        steps: number of steps.
        block_size: block side in voxels, an int or one per axis. A window whose side is no multiple of it is filled
            up with its edge values.
        similarity: ``"ssim"`` keeps the image's blocks similar (:class:`monai_vafa.losses.BlockSSIMLoss`), ``None`` has
            no such term.
        rescale_slices: stretch each axial slice to [0, 1]; ``None`` for the recipe's.
        kwargs: ``loss`` (``None`` for the recipe's), ``activation``, ``targeted``, ``intensity_range``, ``amp``,
            ``seed``, ``progress``, see :class:`Attack`.

    Raises:
        ValueError: When a parameter is out of range or the recipe unknown.
    """

    budget = "q_max"

    def __init__(
        self,
        *,
        recipe: str = "upstream",
        q_max: float = 20.0,
        q_min: float | None = None,
        q_init: float | None = None,
        step_size: float = 1.0,
        steps: int = 20,
        block_size: int | Sequence[int] = 32,
        similarity: str | None = "ssim",
        rescale_slices: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if recipe not in _RECIPES:
            raise ValueError(f"recipe={recipe!r} must be one of {sorted(_RECIPES)}.")
        ingredients = _RECIPES[recipe]
        self.recipe = recipe
        super().__init__(steps=steps, **kwargs)
        q_min = ingredients["q_min"] if q_min is None else q_min
        q_init = ingredients["q_init"] if q_init is None else q_init
        q_init = q_max if q_init is None else q_init
        if not 0 < q_min <= q_max:
            raise ValueError(
                f"q_min={q_min} and q_max={q_max} must satisfy 0 < q_min <= q_max; recipe {recipe!r} has "
                f"q_min={ingredients['q_min']:g} unless told otherwise."
            )
        if not q_min <= q_init <= q_max:
            raise ValueError(f"q_init={q_init} must be between q_min={q_min} and q_max={q_max}.")
        if step_size <= 0:
            raise ValueError(f"step_size={step_size} must be above 0.")
        if similarity not in ("ssim", None):
            raise ValueError(f"similarity={similarity!r} must be 'ssim' or None.")
        self.q_max = float(q_max)
        self.q_min = float(q_min)
        self.q_init = float(q_init)
        self.step_size = float(step_size)
        self.block_size = block_size
        self.similarity = similarity
        rescale_slices = ingredients["rescale_slices"] if rescale_slices is None else rescale_slices
        self.rescale_slices = check_flag("rescale_slices", rescale_slices)

    def check_image(self, shape: Sequence[int]) -> None:
        """
        Refuse images (or windows) that are not 3-D or smaller than a block.

        Args:
            shape: ``(B, C, H, W, D)``.

        Raises:
            ValueError: When the shape does not fit; names the block.
        """
        if len(shape) != 5:
            raise ValueError(
                f"{type(self).__name__} takes volumes (B, C, H, W, D), got shape {tuple(shape)}; "
                "SliceFrequencyAttack also takes images (B, C, H, W)."
            )
        self._check_blocks(shape[2:])

    def _check_blocks(self, spatial: Sequence[int]) -> None:
        sides = self._sides(len(spatial))
        if any(side > length for side, length in zip(sides, spatial, strict=True)):
            raise ValueError(
                f"block_size={sides} is larger than the window {tuple(spatial)}: use smaller blocks or larger windows"
            )

    @property
    def threat_model(self) -> str:
        blocks = "x".join(map(str, self._sides(3)))
        bound = f"DCT coefficients of {blocks} blocks rounded in steps of {self.q_min:g} to {self.q_max:g} (of 255)"
        stretched = ", then every axial slice stretched to the full range" if self.rescale_slices else ""
        return f"{super().threat_model}; may change: {bound}{stretched}; no bound on L-inf"

    def _default_loss(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return _RECIPES[self.recipe]["loss"]()

    def _sides(self, spatial_dims: int) -> tuple[int, ...]:
        """Sides of the blocks of an image with that many axes."""
        return block_sides(self.block_size, spatial_dims)

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        return _TablePerturbation(self, image)

    def _tables(self, perturbation: Perturbation) -> torch.Tensor:
        return perturbation.variable


class SliceFrequencyAttack(VolumetricFrequencyAttack):
    """
    VAFA-2D: the same with a 2-D DCT on every axial slice by itself (the paper's 2-D baseline, after AdvDrop).

    For 3-D networks on volumes, and for 2-D networks on images, which count as one slice. The released 2-D code has
    no similarity term, so the default here is none.

    Args:
        block_size: block side in voxels within a slice, an int or one per in-plane axis.
        similarity: see :class:`VolumetricFrequencyAttack`.
        kwargs: see :class:`VolumetricFrequencyAttack`. ``tables`` of the result are ``(B, C, N, *block, 1)``,
            of 2-D images ``(B, C, N, *block)``.
    """

    def __init__(self, *, block_size: int | Sequence[int] = 32, similarity: str | None = None, **kwargs: Any) -> None:
        super().__init__(block_size=block_size, similarity=similarity, **kwargs)

    def check_image(self, shape: Sequence[int]) -> None:
        """
        Refuse what is neither a volume nor an image, or smaller than a block.

        Args:
            shape: ``(B, C, H, W, D)`` or ``(B, C, H, W)``.

        Raises:
            ValueError: When the shape does not fit; names the block.
        """
        Attack.check_image(self, shape)
        self._check_blocks(shape[2:])

    def _sides(self, spatial_dims: int) -> tuple[int, ...]:
        return (*block_sides(self.block_size, 2), *[1] * (spatial_dims - 2))


class _TablePerturbation(Perturbation):
    """Tables of one run (lines 3-11 of Algorithm 1)."""

    def __init__(self, attack: VolumetricFrequencyAttack, clean: torch.Tensor) -> None:
        self._attack = attack
        self._clean = clean
        sides = attack._sides(clean.ndim - 2)
        self._spectrum = block_spectrum(clean, sides)
        self._similarity = BlockSSIMLoss(sides, reduction="none") if attack.similarity == "ssim" else None
        self.variable = torch.full_like(self._spectrum, attack.q_init)

    def image(self, step: int) -> torch.Tensor:
        softness = _SOFTNESS_AT_START * (1 - step / self._attack.steps)
        image = spectrum_to_image(quantize(self._spectrum, self.variable, softness), self._clean.shape[2:])
        return stretch_slices(image) if self._attack.rescale_slices else image

    def dissimilarity(self, image: torch.Tensor) -> torch.Tensor | float:
        return 0.0 if self._similarity is None else self._similarity(image, self._clean)

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        attack = self._attack
        moved = (self.variable + attack.step_size * gradient.sign()).clamp(attack.q_min, attack.q_max)
        self.variable = where_active(active, moved, self.variable)

    def final(self, last: torch.Tensor) -> torch.Tensor:
        return last
