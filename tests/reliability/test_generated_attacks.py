# SPDX-License-Identifier: Apache-2.0
"""Attacks with generated parameters, images and labels: a right result, or an error that names what is wrong."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from monai.utils import convert_to_tensor

from monai_vafa.attacks import ROSTER
from monai_vafa.attacks.checks import plain_tensor

from .judge import generated, refused, right_or_refused
from .strategies import QUICK, Judged, fields_of, labels, typos, values, volumes

WORDS = ("image", "label", "logits", "activation", "network", "loss", "block_size", "intensity_range")


@pytest.fixture(scope="module")
def network():
    return Judged()


def quick(name, **given):
    """Parameters of a roster entry, such that it is quick."""
    names = fields_of(ROSTER[name].attack)
    return {**{key: value for key, value in QUICK.items() if key in names}, **given}


@st.composite
def parameters(draw):
    """A name of the roster, and a parameter of its attack with some value."""
    name = draw(st.sampled_from(list(ROSTER)))
    parameter = draw(st.sampled_from(fields_of(ROSTER[name].attack)))
    return name, parameter, draw(values)


@generated(80, 3000, case=parameters(), call=st.integers(0, 3))
def test_parameters(network, case, call):
    name, parameter, value = case
    given = quick(name, **{parameter: value})
    # Parameters that go together: the message may name the other one.
    names = (f"{parameter}=", "loss", "restarts", "q_min", "step_size", parameter)
    attack = right_or_refused(lambda: ROSTER[name].build(**given), names=names)
    if refused(attack):
        assert f"{parameter}" in str(attack) or parameter in ("eps", "q", "q_max", "targeted", "random_start"), attack
        return
    json.dumps(attack.parameters, allow_nan=False)
    assert type(attack).__name__ in repr(attack)
    right_or_refused(lambda: attack.threat_model, names=["block_size"])
    for field in fields(attack):
        kept = getattr(attack, field.name)
        assert kept is None or type(kept) is {"int": int, "float": float, "bool": bool}.get(field.type, type(kept)), (
            kept
        )
    if call == 0 and getattr(attack, "steps", 1) <= 3 and getattr(attack, "restarts", 1) <= 3:
        image, label = torch.rand(1, 1, 6, 6, 7, generator=torch.Generator().manual_seed(0)), torch.ones(1, 1, 6, 6, 7)
        names = (*WORDS, parameter)
        result = right_or_refused(lambda: attack(network, image, label), image, label, names=names, network=network)
        if not refused(result):
            check_result(attack, result, image)


@st.composite
def misspelt(draw):
    name = draw(st.sampled_from(list(ROSTER)))
    return name, draw(typos(draw(st.sampled_from(fields_of(ROSTER[name].attack)))))


@generated(20, 300, case=misspelt(), value=values)
def test_names_of_parameters_with_typos(case, value):
    name, typo = case
    if typo in fields_of(ROSTER[name].attack):
        return
    error = right_or_refused(lambda: ROSTER[name].build(**{typo: value}), names=[f"'{typo}'"])
    assert isinstance(error, TypeError)


@st.composite
def calls(draw):
    """A name of the roster, an image and a label, usually such as go together."""
    name = draw(st.sampled_from(list(ROSTER)))
    if draw(st.integers(0, 4)) == 0:
        image = draw(volumes())
        return name, image, draw(st.one_of(st.none(), labels(tuple(image.shape)), volumes()))
    shape = draw(st.tuples(st.integers(1, 2), st.sampled_from((1, 1, 1, 1, 2)), *[st.integers(4, 9)] * 3))
    image = draw(volumes(st.just(shape)))
    label = draw(st.one_of(st.none(), *[labels((shape[0], 1, *shape[2:]))] * 3, labels((shape[0], 3, *shape[2:]))))
    return name, image, label


RANGES = st.sampled_from(((0.0, 1.0), (0.0, 1.0), None, None, (-1200.0, 2000.0), (0, 1e30), (0, 1e-30), (-1e38, 1e38)))


@generated(60, 1500, case=calls(), intensity_range=RANGES, void=st.booleans())
def test_images_and_labels(network, case, intensity_range, void):
    name, image, label = case
    attack = ROSTER[name].build(**quick(name, intensity_range=intensity_range, ignore_label=255 if void else None))
    result = right_or_refused(lambda: attack.run(network, image, label), image, label, names=WORDS, network=network)
    if refused(result):
        return
    check_result(attack, result.adversarial, image)
    if result.losses is not None:
        assert torch.isfinite(result.losses).all() or getattr(attack, "restarts", 1) > 1
    again = attack(network, image, label)
    assert np.array_equal(convert_to_tensor(again), convert_to_tensor(result.adversarial))


def check_result(attack, adversarial, image):
    """Shape, type, finite, in range and within the budget."""
    assert type(adversarial) is type(image)
    assert tuple(adversarial.shape) == tuple(image.shape)
    clean = plain_tensor("image", image).double()
    made = plain_tensor("adversarial", adversarial)
    assert made.dtype == torch.float32
    assert torch.isfinite(made).all()
    made = made.double()
    low, high = attack.intensity_range or (clean.flatten(1).amin(1), clean.flatten(1).amax(1))
    low, high = (torch.as_tensor(each).double().expand(len(clean)).reshape(-1, 1) for each in (low, high))
    width = torch.where(high > low, high - low, 1.0)
    rounding = 2e-6 * (low.abs() + width) + 1e-45
    flat, clean = made.flatten(1), clean.flatten(1)
    assert (flat >= low - rounding).all()
    assert (flat <= low + width + rounding).all()
    change = (flat - clean).abs() / width * 255
    rounding = rounding / width * 255 + (clean.abs() / width * 255 * 1e-3 if attack.intensity_range else 0)
    if attack.budget == "eps" and type(attack).__name__ != "CoefficientAttack":
        assert (change <= attack.eps + rounding + 1e-3).all()
    if attack.budget == "rmse":
        assert (change.square().mean(1, keepdim=True).sqrt() <= attack.rmse * 1.001 + 2 * rounding).all()
