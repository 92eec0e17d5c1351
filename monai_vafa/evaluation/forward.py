# SPDX-License-Identifier: Apache-2.0
"""Whether a forward pass is the same each time and has no optimisation in it, as judging its robustness assumes."""

from __future__ import annotations

import torch
from torch.autograd.graph import saved_tensors_hooks

from monai_vafa.networks.modes import eval_mode
from monai_vafa.target import Target

_ROUNDING = 1e-4  # of the largest logit


def ask(target: Target, image: torch.Tensor) -> torch.Tensor:
    """The network's logits for a volume."""
    with eval_mode(target.network):
        return target.logits(image.clone())


def second_pass(target: Target, image: torch.Tensor, logits: torch.Tensor) -> dict[str, float]:
    """
    Ask again about an image ``(1, C, *spatial)``: random answers and inner optimisation hide gradients from attacks.

    RobustBench (https://arxiv.org/abs/2010.09670) takes neither. ``"unstable_logits"`` is the share of the logits that
    differ by more than rounding; ``"inner_gradients"`` is 1 if a backward pass ran inside the forward pass, else 0. An
    optimisation without gradients is not noticed.
    """
    used = []  # tensors that a backward pass asked for

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        used.append(tensor.ndim)
        return tensor

    again = logits
    try:
        with saved_tensors_hooks(lambda tensor: tensor, unpack):
            again = ask(target, image)
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):  # torch.func takes gradients, but can't be watched
            raise
        used.append(0)
    first, second = logits.float().cpu(), again.float().cpu()
    largest = float(first.abs().nan_to_num(0, 0, 0).max())
    same = torch.isclose(first, second, rtol=0, atol=_ROUNDING * largest, equal_nan=True)
    return {"unstable_logits": 1 - float(same.double().mean()), "inner_gradients": float(bool(used))}
