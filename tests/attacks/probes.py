# SPDX-License-Identifier: Apache-2.0
"""What several tests of attacks look through."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from monai_vafa.attacks import (
    AutoPGD,
    BasicIterative,
    CoefficientAttack,
    CosPGD,
    DiverseInputsIterative,
    FastGradientSign,
    MinimalNormAttack,
    MomentumIterative,
    PerceptualFrequencyAttack,
    ProjectedAdam,
    ProjectedGradientDescent,
    SegPGD,
    SpectrumAdversarialAttack,
    SpectrumSimulationAttack,
    TsallisPGD,
    VolumetricFrequencyAttack,
)

# Every attack that follows a gradient, in a few steps; those of images and volumes come first.
BY_GRADIENT = {
    "fgsm": FastGradientSign,
    "bim": partial(BasicIterative, steps=3),
    "pgd": partial(ProjectedGradientDescent, steps=3),
    "mi_fgsm": partial(MomentumIterative, steps=3),
    "di_mi_fgsm": partial(DiverseInputsIterative, steps=3, diversity=0.9),
    "ssa": partial(SpectrumSimulationAttack, steps=3, copies=3),
    "seg_pgd": partial(SegPGD, steps=3),
    "cos_pgd": partial(CosPGD, steps=3),
    "tsallis_pgd": partial(TsallisPGD, steps=3),
    "minimal_norm": partial(MinimalNormAttack, steps=5),
    "padam": partial(ProjectedAdam, steps=3),
    "auto_pgd": partial(AutoPGD, steps=5),
    "sa2": partial(SpectrumAdversarialAttack, steps=3, block_size=8),
    "coefficient": partial(CoefficientAttack, steps=3),
    "pfa": partial(PerceptualFrequencyAttack, steps=3),
    "vafa": partial(VolumetricFrequencyAttack, steps=3, block_size=8),
}


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
