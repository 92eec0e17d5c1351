# SPDX-License-Identifier: Apache-2.0
"""The gate for losses of users, which take labels in several forms."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from monai.networks import one_hot

from monai_vafa.losses import SegmentationLoss

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class LossGate:
    """Calls a loss with the first form of the label that it takes without an error, and checks what it returns."""

    def __init__(self) -> None:
        self._form: dict[int, int] = {}  # of each loss, once known

    def __call__(self, loss: LossFunction, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of a batch of one volume, a float32 scalar."""
        if isinstance(loss, SegmentationLoss):
            return loss(logits, label)
        name, errors = getattr(loss, "__name__", type(loss).__name__), []
        for number, form in enumerate(_forms(logits, label)):
            if self._form.get(id(loss), number) != number:
                continue
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("error", message="Using a target size")  # of losses that broadcast
                    value = loss(logits, form)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                kind = f"{tuple(form.shape)} of {str(form.dtype).removeprefix('torch.')}"
                errors.append(f"{kind}: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}")
            else:
                self._form[id(loss)] = number
                return _scalar(name, value, logits)
        raise ValueError(
            f"loss={name} must be loss(logits, label) -> scalar, larger for a worse segmentation. With logits of "
            f"{tuple(logits.shape)} it takes none of these labels: {'; '.join(errors)}."
        )


def _forms(logits: torch.Tensor, label: torch.Tensor) -> Iterator[torch.Tensor]:
    """Copies of a label: as it is, without the channel of a class map, with a channel per class, as other numbers."""
    yield label.clone()
    if label.shape[1] > 1:
        yield label.long() if label.is_floating_point() else label.float()
        label = label.argmax(1, keepdim=True)
        yield label.clone()
    yield label[:, 0].clone()
    yield one_hot(label, logits.shape[1]) if logits.shape[1] > 1 else label.float()


def _scalar(name: str, value: Any, logits: torch.Tensor) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"loss={name} must return a scalar tensor, got {type(value).__name__}.")
    if value.numel() != 1:
        raise ValueError(f"loss={name} must return a scalar, got shape {tuple(value.shape)}; use reduction='mean'.")
    if logits.requires_grad and not value.requires_grad:
        raise ValueError(f"loss={name} passes no gradient to the logits: look for argmax, detach() or numpy in it.")
    return value.reshape(()).float()
