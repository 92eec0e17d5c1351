# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate for losses of users, which take labels in several forms."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from monai.networks import one_hot

from monai_vafa.losses import SegmentationLoss

__all__ = ["LossFunction", "LossGate"]

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class LossGate:
    """
    Calls losses with the form of the label that they take, and checks what they return.

    Losses of this package take the class map ``(B, 1, *spatial)``, with sigmoid 0 and 1 ``(B, classes, *spatial)``.
    Others also find the class map without its channel, as ``torch.nn.CrossEntropyLoss`` wants it, and one channel per
    class. The first form that a loss takes without an error is its form from then on. Each gets a copy, so that a loss
    which works in place changes nobody's label.
    """

    def __init__(self) -> None:
        self._form: dict[int, int] = {}

    def __call__(self, loss: LossFunction, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of a batch of one volume, a float32 scalar."""
        if isinstance(loss, SegmentationLoss):
            return loss(logits, label)
        known = self._form.get(id(loss))
        errors: list[str] = []
        cause: Exception | None = None
        for number, form in enumerate(_forms(logits, label)):
            if known is not None and number != known:
                continue
            try:
                with warnings.catch_warnings():
                    # Of losses that broadcast what does not fit.
                    warnings.filterwarnings("error", message="Using a target size")
                    value = loss(logits, form)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                cause = cause or error
                errors.append(f"{_words(form)}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
            else:
                self._form[id(loss)] = number
                return _scalar(loss, value, logits)
        raise ValueError(
            f"loss={_name(loss)} must be loss(logits, label) -> scalar, larger for a worse segmentation. With logits "
            f"of {tuple(logits.shape)} it takes none of these labels: {'; '.join(errors)}."
        ) from cause


def _forms(logits: torch.Tensor, label: torch.Tensor) -> Iterator[torch.Tensor]:
    """Copies of a label in the forms that losses take it in, the one of this package first."""
    yield label.clone()
    if label.is_floating_point():
        yield label.long()
        if label.shape[1] == 1:
            yield label[:, 0].clone()
    elif label.shape[1] == 1:
        yield label[:, 0].clone()
        yield one_hot(label, logits.shape[1]) if logits.shape[1] > 1 else label.float()
    else:
        yield label.float()
        class_map = label.argmax(1, keepdim=True)
        yield class_map
        yield class_map[:, 0].clone()


def _scalar(loss: LossFunction, value: Any, logits: torch.Tensor) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"loss={_name(loss)} must return a scalar tensor, got {type(value).__name__}.")
    if value.numel() != 1:
        raise ValueError(
            f"loss={_name(loss)} must return a scalar, got shape {tuple(value.shape)}; use reduction='mean'."
        )
    if logits.requires_grad and not value.requires_grad:
        raise ValueError(
            f"loss={_name(loss)} passes no gradient to the logits, so no gradient attack can follow it: look for "
            "argmax, detach(), item() or numpy in it."
        )
    return value.reshape(()).float()


def _words(form: torch.Tensor) -> str:
    return f"{tuple(form.shape)} of {str(form.dtype).removeprefix('torch.')}"


def _name(loss: LossFunction) -> str:
    return getattr(loss, "__name__", type(loss).__name__)
