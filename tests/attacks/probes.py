# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What several tests of attacks look through."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def cross_entropy(logits, label):
    return F.cross_entropy(logits, label[:, 0])


class Spy(torch.nn.Module):
    """Remembers what a network was shown."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.network(x)
