# SPDX-License-Identifier: Apache-2.0
"""The Spectrum Simulation Attack (SSA): steps that suit many networks, found on images of altered spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch

from monai_vafa.frequency import dct, idct

from .base import AttackResult
from .checks import check_count
from .gradient import LEVELS
from .objective import Objective
from .pgd import MomentumIterative, MomentumPerturbation


@dataclass(kw_only=True, eq=False, repr=False)
class SpectrumSimulationAttack(MomentumIterative):
    """
    SSA: the sign of the gradient, averaged over copies of the image whose spectrum is altered at random.

    Long et al., "Frequency Domain Model Augmentation for Adversarial Attack", ECCV 2022 (arXiv 2207.05382). A copy is
    ``IDCT(DCT(x + noise) * mask)``: Gaussian noise, and for each DCT coefficient of the whole window a factor, uniform
    in [1 - rho, 1 + rho]. As in the authors' code, the gradient is that at the copies, which may leave the intensity
    range. A step costs ``copies + 1`` gradients; the one of the image itself tells whether all voxels are wrong.

    Args:
        copies: number of copies in each step.
        rho: largest change of a factor, in [0, 1].
        sigma: standard deviation of the noise in intensity levels (0-255 scale), at least 0.
        decay: see :class:`MomentumIterative`; 0 is S2I-FGSM, 1 is S2I-MI-FGSM.

    All others: see :class:`MomentumIterative`.
    """

    steps: int = 10
    decay: float = 0.0
    copies: int = 20
    rho: float = 0.5
    sigma: float = 16.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.copies = check_count("copies", self.copies)
        if not 0 <= self.rho <= 1:
            raise ValueError(f"rho={self.rho} must be in [0, 1]: factors are between 1 - rho and 1 + rho.")
        if self.sigma < 0:
            raise ValueError(f"sigma={self.sigma} must be at least 0.")

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return self._climb(objective, image, _CopiesPerturbation(self, objective, image), self.steps)


class _CopiesPerturbation(MomentumPerturbation):
    """Goes by the gradients at altered copies, not by that of the image itself."""

    def __init__(self, attack: SpectrumSimulationAttack, objective: Objective, clean: torch.Tensor) -> None:
        super().__init__(clean, eps=attack.eps, step_size=cast(float, attack.step_size), decay=attack.decay)
        self._attack = attack
        self._objective = objective

    def ascend(self, gradient: torch.Tensor, gain: torch.Tensor, active: torch.Tensor) -> None:
        gradient = torch.zeros_like(gradient)
        for _ in range(self._attack.copies):
            copy, objective = self._copy().requires_grad_(), self._objective
            with torch.enable_grad():
                total = (objective(copy)[0] * objective.gradient_scale).sum()
                gradient += objective.lost.without(objective.gradient(total, copy), active)
        super().ascend(gradient, gain, active)

    def _copy(self) -> torch.Tensor:
        draws, dims = self._objective.draws, self._clean.ndim - 2
        noisy = self.variable + self._attack.sigma / LEVELS * draws.of(torch.randn)
        mask = 1 + self._attack.rho * (2 * draws.of(torch.rand) - 1)
        return idct(dct(noisy, dims) * mask, dims)
