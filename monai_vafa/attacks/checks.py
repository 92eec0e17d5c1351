# SPDX-License-Identifier: Apache-2.0
"""Checks of an attack's parameters and of what it is called with; each returns what it lets pass, if anything."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from numbers import Real
from typing import Any

import numpy as np
import torch
from monai.utils import convert_to_tensor

from monai_vafa.frequency import block_sides

logger = logging.getLogger(__name__)

# Smaller budgets and steps than these are taken for shares of 1; the smallest eps of the literature is 0.25.
_IN_LEVELS = ("eps", "rmse", "sigma", "q", "q_max")
_LEAST_LEVELS = 0.25
_LEAST_STEP = 0.05
# An image that fills less of its range is probably given in other units, such as [0, 1] in a range of [0, 255].
_LEAST_SHARE = 1 / 64
# Resampling may overshoot a range by rounding; more than this means that the range is wrong.
_RANGE_TOLERANCE = 1e-3


def check_flag(name: str, value: bool) -> bool:
    """A bool: on MONAI's command line ``false`` arrives as a string, which is true."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r} must be True or False (with a capital letter on the command line).")
    return value


def check_number(name: str, value: Any) -> float:
    """A finite number; on a command line, text stays text."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r} must be a number, got {type(value).__name__}.")
    with contextlib.suppress(OverflowError):  # of an int with hundreds of digits
        if abs(number := float(value)) <= torch.finfo(torch.float32).max:
            return number
    raise ValueError(f"{name}={value} must be finite, in numbers of float32.")


def check_numbers(name: str, values: Any) -> tuple[float, ...]:
    """Finite numbers in a list, tuple or array."""
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise TypeError(f"{name}={values!r} must be a list of numbers.")
    return tuple(check_number(name, value) for value in values)


def check_integer(name: str, value: Any) -> int:
    """An integer, also as a float without fraction or of NumPy."""
    if check_number(name, value) != int(value) or not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}={value} must be an integer of 64 bits.")
    return int(value)


def check_count(name: str, value: int) -> int:
    """An integer of at least 1."""
    if check_integer(name, value) < 1:
        raise ValueError(f"{name}={value} must be an integer of at least 1.")
    return int(value)


def check_positive(name: str, value: float) -> float:
    """A number above 0."""
    if not check_number(name, value) > 0:
        raise ValueError(f"{name}={value} must be above 0.")
    return float(value)


def check_eps(eps: float) -> float:
    """The radius of an L-inf ball, in intensity levels (0-255 scale)."""
    if not 0 < check_number("eps", eps) <= 255:
        raise ValueError(f"eps={eps} must be above 0 and at most 255: intensity levels on the 0-255 scale.")
    return float(eps)


def check_range(intensity_range: Sequence[float]) -> tuple[float, float]:
    """A lowest and a highest value."""
    values = check_numbers("intensity_range", intensity_range)
    if len(values) == 2 and 0 < values[1] - values[0] <= torch.finfo(torch.float32).max:
        return values[0], values[1]
    raise ValueError(f"intensity_range={intensity_range} must be (lowest, highest), in numbers of float32, or None.")


def check_fields(attack: Any) -> None:
    """All fields of an attack that are annotated as bool, int, float or block size; None passes where it may stand."""
    for field in fields(attack):
        kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
        name, value = field.name, getattr(attack, field.name)
        if value is None and "None" in kind:
            continue
        if name == "block_size":
            block_sides(value)
        elif kind.startswith("bool"):
            check_flag(name, value)
        elif kind.startswith("int"):
            setattr(attack, name, check_integer(name, value))
        elif kind.startswith("float"):
            setattr(attack, name, check_number(name, value))


def check_levels(attack: Any) -> None:
    """A budget and steps that can change something: 8/255, as the literature has it, would be 0.03 of a level here."""
    if attack.budget not in _IN_LEVELS:
        return
    budget, step_size = getattr(attack, attack.budget), getattr(attack, "step_size", None) or 0.0
    shares = {attack.budget: budget} if budget < _LEAST_LEVELS else {}
    if step_size < _LEAST_STEP and step_size * getattr(attack, "steps", 1) < budget / 2:
        shares["step_size"] = step_size
    for name, value in shares.items():
        if value > 0:
            likely = f"{name}={value * 255:.4g}"
            raise ValueError(f"{name}={value:.4g} is in intensity levels (0-255 scale): did you mean {likely}?")
    if 0 < budget < 1:
        logger.warning("%s=%g is less than one intensity level (0-255 scale).", attack.budget, budget)


def check_network(network: Any) -> None:
    """A module whose weights autograd can work with."""
    if not isinstance(network, torch.nn.Module):
        hint = "; give the module of the program: network.module()" if hasattr(network, "module") else ""
        raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}{hint}.")
    if any(weight.is_inference() for weight in network.parameters()):
        raise ValueError("network was made under torch.inference_mode(): for autograd, give copy.deepcopy(network).")


def check_choice(name: str, value: str | None, choices: Collection[str | None]) -> None:
    """One of several values."""
    if not isinstance(value, str | None) or value not in choices:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, choices))}.")


def plain_tensor(name: str, data: Any) -> torch.Tensor:
    """A tensor without meta data and gradient, also of a NumPy array of any byte order and strides."""
    if isinstance(data, np.ndarray) and data.dtype.kind in "buif":
        native = data.dtype.newbyteorder("=") if data.dtype.itemsize <= 8 else np.float64
        data = convert_to_tensor(np.array(data, native, order="C"))
    if not isinstance(data, torch.Tensor) or data.is_complex():
        kind = getattr(data, "dtype", type(data).__name__)
        raise TypeError(f"{name} must be a tensor or NumPy array of real numbers, got {kind}.")
    plain: torch.Tensor = convert_to_tensor(data, track_meta=False)
    return plain.detach()


def check_image_values(image: torch.Tensor, name: str = "image") -> None:
    """An image, or a label, that has voxels, all finite."""
    if image.numel() == 0:
        raise ValueError(f"{name} is empty: it has shape {tuple(image.shape)}.")
    if not torch.isfinite(image).all():
        count = int((~torch.isfinite(image)).sum())
        raise ValueError(f"{name} holds {count} NaN or infinite voxels; repair or exclude it first.")


def check_label(label: torch.Tensor, image: torch.Tensor, ignore_label: int | None = None) -> torch.Tensor:
    """A label ``(B, 1 or classes, *spatial)`` that fits an image ``(B, C, *spatial)``, as a new plain int64 tensor."""
    plain = plain_tensor("label", label)
    if plain.ndim != image.ndim or plain.shape[0] != image.shape[0] or plain.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"label of shape {tuple(plain.shape)} does not fit an image of {tuple(image.shape)}: batch and spatial "
            "axes must be the same, with one channel (class map) or one per class."
        )
    check_image_values(plain, "label")
    if plain.is_floating_point() and not torch.equal(plain, plain.round()):
        raise ValueError("label must hold integers; resample label maps with mode='nearest'.")
    plain = plain.to(torch.int64, copy=True)
    lowest = int((plain if ignore_label is None else plain.masked_fill(plain == ignore_label, 0)).min())
    if lowest < 0:
        raise ValueError(f"label holds {lowest}, below 0: give ignore_label={lowest} if it marks unlabelled voxels.")
    return plain


def value_range(
    image: torch.Tensor, intensity_range: Sequence[float] | None, *, told: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest value and width (1 if constant) of each volume's range; ``told`` warns if the image fills little of it."""
    axes = tuple(range(1, image.ndim))
    lowest, highest = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    if intensity_range is None:
        width = highest - lowest
        return lowest, torch.where(width > 0, width, 1.0)
    low, high = intensity_range
    least, most, slack = lowest.min(), highest.max(), _RANGE_TOLERANCE * (high - low)
    if least < low - slack or most > high + slack:
        raise ValueError(
            f"image has values in [{least:.4g}, {most:.4g}], outside intensity_range=({low:g}, {high:g}); give the "
            "range that your preprocessing leads to, or None for the own range of each volume."
        )
    if told and 0 < float(most - least) < _LEAST_SHARE * (high - low):
        logger.warning(
            "image has values in [%.4g, %.4g], next to nothing of intensity_range=(%g, %g), of which budgets are a "
            "share: is that the range that your preprocessing leads to?",
            *(least, most, low, high),
        )
    return torch.full_like(lowest, low), torch.full_like(lowest, high - low)
