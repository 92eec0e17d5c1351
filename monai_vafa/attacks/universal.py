# SPDX-License-Identifier: Apache-2.0
"""One perturbation for all scans, made on those of other patients (Moosavi-Dezfooli et al., CVPR 2017)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import torch

from monai_vafa.atomic import write_torch

from .base import AttackResult
from .checks import check_eps
from .gradient import LEVELS, LinfAttack
from .objective import LossFunction, Objective


@dataclass(kw_only=True, eq=False, repr=False)
class UniversalTraining(LinfAttack):
    """
    Makes a :class:`UniversalPerturbation`: call it on the scans of a cohort, some times over, then :meth:`save`.

    Unlike all others it keeps what it made from one call to the next. A call moves the perturbation by ``eps / 20``
    along the mean gradient of its batch, with a momentum of 0.9 (stochastic PGD, Shafahi et al., AAAI 2020).

    All parameters: see :class:`LinfAttack`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._perturbation = self._momentum = torch.zeros(())

    def save(self, path: str | os.PathLike) -> None:
        """Write ``"perturbation"`` ``(C, *window)``, in shares of the intensity range, and ``"eps"``."""
        write_torch(Path(path), {"perturbation": self._perturbation.cpu(), "eps": self.eps})

    def check_image(self, shape: Sequence[int]) -> None:
        super().check_image(shape)
        made = tuple(self._perturbation.shape)
        # One channel also stands for an unknown number.
        if made and (made[1:] != tuple(shape[2:]) or shape[1] not in (1, made[0])):
            raise ValueError(
                f"the universal perturbation is for windows of {made}, channels first, not {tuple(shape[1:])}: train "
                "one for these; where there are no windows, give the inferer a roi_size."
            )

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        moved = image + self._perturbation.to(image)
        shown = moved.clamp(0, 1).requires_grad_()
        gain, success = objective(shown)
        gradient = objective.gradient((gain * objective.gradient_scale).sum(), shown)
        gradient = objective.lost.without(gradient, ~success) * (moved == shown)  # what is clipped can't move
        self._momentum = 0.9 * self._momentum + gradient.mean(0)
        limit = self.eps / LEVELS
        self._perturbation = (self._perturbation + limit / 20 * self._momentum.sign()).clamp(-limit, limit)
        return AttackResult(shown)


@dataclass(kw_only=True, eq=False, repr=False)
class UniversalPerturbation(UniversalTraining):
    """
    Adds the perturbation in a file of :class:`UniversalTraining` to each window; the network is never asked.

    Args:
        path: the file, read with ``weights_only=True``.
        eps: ``None`` for that of the training; another one scales the perturbation.
        sha256: of the file, so that results say which one it was; ``None`` takes what it is.

    All others: see :class:`LinfAttack`; ``activation``, ``amp``, ``seed`` and ``progress`` have no effect.
    """

    path: str
    eps: float | None = None  # type: ignore[assignment]  # a number once it is made
    sha256: str | None = None
    loss: LossFunction | None = field(default=None, init=False)
    targeted: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.path, digest = str(self.path), sha256(Path(self.path).read_bytes()).hexdigest()
        if self.sha256 not in (None, digest):
            raise ValueError(f"sha256={self.sha256!r} is not that of path={self.path!r}, {digest}.")
        try:
            made = torch.load(self.path, map_location="cpu", weights_only=True)
            eps, perturbation = check_eps(made["eps"]), made["perturbation"].float()
            if not (perturbation.ndim in (3, 4) and perturbation.abs().max() <= eps / LEVELS + 1e-6):
                raise ValueError(f"a perturbation of shape {tuple(perturbation.shape)}, or above its eps={eps}")
        except Exception as error:  # a damaged file can raise anything
            raise ValueError(f"path={self.path!r} is no file of UniversalTraining: {error}.") from error
        self.sha256, self.eps = digest, eps if self.eps is None else self.eps
        super().__post_init__()
        self._perturbation = perturbation * (self.eps / eps)

    @property
    def _knowledge(self) -> str:
        return "no access (one perturbation, made with a network and scans of others, is added to each window)"

    def _generate(self, objective: Objective, image: torch.Tensor) -> AttackResult:
        return AttackResult(image + self._perturbation.to(image))
