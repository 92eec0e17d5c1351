# SPDX-License-Identifier: Apache-2.0
"""Volumetric Adversarial Frequency Attack (VAFA) and its slice-wise form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch

from monai_vafa.frequency import block_sides, block_spectrum, quantize, spectrum_to_image
from monai_vafa.losses import BlockSSIMLoss, DiceCrossEntropyLoss, SoftDiceLoss

from .checks import check_choice, check_positive
from .gradient import IterativeAttack, Perturbation, where_active
from .objective import LossFunction

_SOFTNESS_AT_START = 0.1
# Slices that are constant up to rounding: stretching rounding errors would give every machine another image.
_CONSTANT = 1e-5


# What stands for the parameters left at None; a q_init of None is q_max.
_RECIPES: dict[str, dict[str, Any]] = {
    "upstream": {"q_min": 5.0, "q_init": None, "loss": DiceCrossEntropyLoss, "rescale_slices": True},
    "algorithm1": {"q_min": 1.0, "q_init": 1.0, "loss": SoftDiceLoss, "rescale_slices": False},
}


@dataclass(kw_only=True, eq=False, repr=False)
class VolumetricFrequencyAttack(IterativeAttack):
    """
    VAFA: learn, for each block of a volume, the quantisation table of its 3-D DCT that misleads the network most.

    Hanif et al., "Frequency Domain Adversarial Training for Robust Volumetric Medical Segmentation", MICCAI 2023,
    Eq. 1-2 and Algorithm 1: ``c = DCT(255 x - 128)``, ``x' = (IDCT(soft_round(c / q) q) + 128) / 255``, and
    ``q <- clip(q + sign(dL/dq), q_min, q_max)`` with ``L = L_seg(M(x'), y) - L_sim(x, x')``. The rounding hardens
    over the steps (softness 0.1 towards 0). Returned is the image of the last step, made before its table update.

    There are two recipes, and every ingredient can also be set by itself:

    - ``"upstream"``: the authors' released code, with which the published tables were very probably made. Tables
      start at ``q_max`` with ``q_min=5``; the loss is Dice + cross entropy; and each axial slice of what the network
      sees (and of the result) is stretched to [0, 1]. That does much of the damage where slices have next to no
      contrast: see the re-scale-only control, and ``rescale_slices=False``.
    - ``"algorithm1"``: the paper's Algorithm 1 to the letter. Tables start at 1 with ``q_min=1``; soft Dice; no
      stretching. From 1 the sign steps nearly cancel, so that it changes next to nothing.

    Args:
        recipe: ``"upstream"`` or ``"algorithm1"``; gives the values of ``q_min``, ``q_init``, ``rescale_slices`` and
            ``loss`` that are ``None``.
        q_max: upper bound of the tables, in intensity levels (0-255 scale).
        q_min: lower bound of the tables, above 0.
        q_init: where the tables start.
        step_size: change of a table entry per step.
        block_size: block side in voxels, an int or one per axis; windows of other sides are padded with edge values.
        similarity: ``"ssim"`` keeps the blocks similar (:class:`monai_vafa.losses.BlockSSIMLoss`); ``None``: no term.
        rescale_slices: stretch each axial slice to [0, 1].

    All others: see :class:`IterativeAttack`.
    """

    budget = "q_max"
    _reports_tables = True
    _axes: ClassVar[tuple[int, ...]] = (5,)

    recipe: Literal["upstream", "algorithm1"] = "upstream"
    q_max: float = 20.0
    q_min: float | None = None
    q_init: float | None = None
    step_size: float = 1.0
    block_size: int | Sequence[int] = 32
    similarity: Literal["ssim"] | None = "ssim"
    rescale_slices: bool | None = None

    def __post_init__(self) -> None:
        check_choice("recipe", self.recipe, _RECIPES)
        super().__post_init__()
        recipe = _RECIPES[self.recipe]
        for name in ("q_min", "q_init", "rescale_slices"):
            if getattr(self, name) is None:
                setattr(self, name, recipe[name])
        q_min, q_max = cast(float, self.q_min), self.q_max
        if not 0 < q_min <= q_max:
            raise ValueError(
                f"q_min={q_min:g} and q_max={q_max:g} must satisfy 0 < q_min <= q_max; recipe {self.recipe!r} has "
                f"q_min={recipe['q_min']:g} by default."
            )
        self.q_init = q_max if self.q_init is None else self.q_init
        if not q_min <= self.q_init <= q_max:
            raise ValueError(f"q_init={self.q_init:g} must be between q_min={q_min:g} and q_max={q_max:g}.")
        self.step_size = check_positive("step_size", self.step_size)
        check_choice("similarity", self.similarity, ("ssim", None))

    def check_image(self, shape: Sequence[int]) -> None:
        super().check_image(shape)
        if len(shape) not in self._axes:
            raise ValueError(
                f"{type(self).__name__} takes volumes (B, C, H, W, D), got shape {tuple(shape)}; "
                "SliceFrequencyAttack also takes images (B, C, H, W)."
            )
        sides = block_sides(self.block_size, len(shape) - 2, in_plane=self.in_plane)
        if any(side > length for side, length in zip(sides, shape[2:], strict=True)):
            raise ValueError(f"block_size={sides} is larger than the window {tuple(shape[2:])}; use smaller blocks.")

    @property
    def threat_model(self) -> str:
        blocks = "x".join(map(str, block_sides(self.block_size, 3, in_plane=self.in_plane)))
        bound = f"DCT coefficients of {blocks} blocks rounded in steps of {self.q_min:g} to {self.q_max:g} (of 255)"
        stretched = ", then every axial slice stretched to the full range" if self.rescale_slices else ""
        return f"{super().threat_model}; may change: {bound}{stretched}; no bound on L-inf"

    def _default_loss(self) -> LossFunction:
        return _RECIPES[self.recipe]["loss"]()

    def _perturbation(self, image: torch.Tensor) -> Perturbation:
        return _TablePerturbation(self, image)


@dataclass(kw_only=True, eq=False, repr=False)
class SliceFrequencyAttack(VolumetricFrequencyAttack):
    """
    VAFA-2D: the same with a 2-D DCT on every axial slice by itself (the paper's 2-D baseline, after AdvDrop).

    For 3-D networks on volumes, and for 2-D networks on images, which count as one slice. The released 2-D code has
    no similarity term, so there is none by default. ``tables`` of the result are ``(B, C, N, *block, 1)``, of 2-D
    images ``(B, C, N, *block)``.

    Args:
        block_size: block side in voxels within a slice, an int or one per in-plane axis.

    All others: see :class:`VolumetricFrequencyAttack`.
    """

    in_plane = True
    _axes = (4, 5)

    similarity: Literal["ssim"] | None = None


class _TablePerturbation(Perturbation):
    """Tables of one run (lines 3-11 of Algorithm 1)."""

    def __init__(self, attack: VolumetricFrequencyAttack, clean: torch.Tensor) -> None:
        self._attack, self._clean = attack, clean
        sides = block_sides(attack.block_size, clean.ndim - 2, in_plane=attack.in_plane)
        self._spectrum = block_spectrum(clean, sides)
        self._similarity = BlockSSIMLoss(sides, reduction="none") if attack.similarity == "ssim" else None
        self.variable = torch.full_like(self._spectrum, cast(float, attack.q_init))

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


def stretch_slices(image: torch.Tensor) -> torch.Tensor:
    """Stretch each axial slice of ``(B, C, H, W[, D])`` to [0, 1]; constant ones, 0 / 0 in the released code, stay."""
    low = image.amin(dim=(2, 3), keepdim=True)
    width = image.amax(dim=(2, 3), keepdim=True) - low
    constant = width < _CONSTANT
    return torch.where(constant, image, (image - low) / torch.where(constant, 1.0, width))
