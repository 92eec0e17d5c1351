# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks that end in a softmax or sigmoid: attacks need what comes before it."""

from __future__ import annotations

import torch

from monai_vafa.outputs import as_logits

# Sums of probabilities in half precision.
_TOLERANCE = 1e-2


def are_probabilities(output: torch.Tensor) -> bool:
    """
    Whether ``(B, classes, *spatial)`` are probabilities: all in [0, 1], and not all the same.

    Logits of a whole image are negative somewhere: else the network would find every class everywhere.
    """
    low, high = output.aminmax()
    return bool(low >= 0 and high <= 1 and high > low)


def to_logits(probabilities: torch.Tensor) -> torch.Tensor:
    """Logits whose softmax, or sigmoid if they don't sum up to 1 over the classes, are these probabilities."""
    exact = probabilities.float()
    bounds = torch.finfo(torch.float32)
    if exact.shape[1] > 1 and (exact.sum(1) - 1).abs().max() <= _TOLERANCE:
        return exact.clamp_min(bounds.tiny).log()
    return exact.clamp(bounds.tiny, 1 - bounds.eps / 2).logit()


class LogitNetwork(torch.nn.Module):
    """Gives the logits of a network that gives probabilities."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, classes, *spatial)``."""
        return to_logits(as_logits(self.network(image)))
