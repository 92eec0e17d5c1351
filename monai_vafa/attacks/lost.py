# SPDX-License-Identifier: Apache-2.0
"""Gradients that an attack could not follow, so that no broken network looks robust."""

from __future__ import annotations

import warnings

import torch


class LostGradients:
    """Of each volume of a batch: gradients seen, share of them that was not finite, and how many were all zero."""

    def __init__(self, batch: int) -> None:
        self._steps, self._nonfinite, self._zero = torch.zeros(3, batch)

    def without(self, gradient: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
        """A gradient ``(B, C, *spatial)`` in which voxels of unknown direction have 0, and so stay as they are."""
        self._steps += active.cpu()
        largest = torch.linalg.vector_norm(gradient.flatten(1), ord=torch.inf, dim=1)
        if (~active | (torch.isfinite(largest) & (largest > 0))).all():
            return gradient
        unknown = ~torch.isfinite(gradient)
        gradient = gradient.masked_fill(unknown, 0.0)
        share = active * unknown.flatten(1).float().mean(1)
        zero = active & (gradient == 0).flatten(1).all(1)
        if (zero & (share > 0)).any():
            raise ValueError(
                f"the network's gradient is NaN or infinite in {100 * float(share.max()):.3g} % of the voxels, and "
                "nothing is left to follow: no sign of robustness. Look for sqrt, log, norm or a division at 0 in its "
                "forward(), or with amp='float16' take 'bfloat16' or None; SquareAttack needs no gradient."
            )
        self._nonfinite += share.cpu()
        self._zero += zero.cpu()
        return gradient

    def shares(self) -> dict[str, torch.Tensor]:
        """The fields ``nonfinite`` and ``zero_gradient`` of a result; warns, in words that are the same every time."""
        if not self._steps.any():
            return {}
        for lost, what, field in (
            (self._nonfinite, "NaN or infinite in some voxels", "nonfinite"),
            (self._zero, "zero everywhere at some steps", "zero_gradient"),
        ):
            if lost.any():
                warnings.warn(
                    f"the network's gradient is {what}, so the attack is weaker than it should be (see "
                    f"AttackResult.{field}): an unchanged image is no sign of robustness; try SquareAttack.",
                    stacklevel=4,
                )
        steps = self._steps.clamp(min=1)
        return {"nonfinite": self._nonfinite / steps, "zero_gradient": self._zero / steps}
