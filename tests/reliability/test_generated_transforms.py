# SPDX-License-Identifier: Apache-2.0
"""Transforms, windows and targets with generated images, labels, dictionaries and parameters."""

from __future__ import annotations

import inspect
from pathlib import Path

import monai.transforms
import pytest
import torch
from hypothesis import strategies as st

from monai_vafa import transforms
from monai_vafa.attacks import BasicIterative, EraseClass, SlidingWindowAttack, SwapClasses
from monai_vafa.attacks.checks import plain_tensor

from .judge import PACKAGE, generated, refused, right_or_refused
from .strategies import QUICK, Judged, labels, typos, values, volumes

ARRAYS = ("VAFA", "PGD", "FGSM", "PFA", "Square", "GN", "APGD", "CosPGD")
WORDS = ("img", "image", "label", "block_size", "intensity_range", "logits", "roi_size", "key", "Key", "volume")
HOMES = (PACKAGE, Path(monai.transforms.__file__).parent)  # which names missing keys
# Few enough voxels for an attack.
SMALL = st.tuples(st.just(1), *[st.integers(4, 8)] * 3)


@pytest.fixture(scope="module")
def network():
    return Judged()


def quick(name, **given):
    names = inspect.signature(getattr(transforms, name)).parameters
    return {**{key: value for key, value in QUICK.items() if key in names}, **given}


def check(made, img):
    """Type, shape, dtype, meta data; finite."""
    assert type(made) is type(img)
    assert tuple(made.shape) == tuple(img.shape)
    floating = plain_tensor("img", img).is_floating_point()
    plain = plain_tensor("made", made)
    assert plain.dtype == (plain_tensor("img", img).dtype if floating else torch.float32)
    assert torch.isfinite(plain).all()
    if hasattr(img, "affine"):
        assert torch.equal(made.affine, img.affine)


@st.composite
def images(draw):
    """An image without batch axis, usually fit for an attack, and a label."""
    if draw(st.integers(0, 4)) == 0:
        return draw(volumes()), draw(st.one_of(st.none(), volumes()))
    shape = draw(SMALL)
    return draw(volumes(st.just(shape))), draw(st.one_of(st.none(), labels(shape)))


RANGES = st.sampled_from(((0.0, 1.0), (0.0, 1.0), None, None, (-1200.0, 2000.0)))
BLOCKS = st.sampled_from((2, 8, 32, (4, 4, 4), (4, 4), 1))
ROIS = st.sampled_from((None, None, 4, 8, (4, 4, 5), -1, (4, 8), 0, (8, 8, 8, 8)))


@generated(25, 600, case=images(), name=st.sampled_from(ARRAYS), roi_size=ROIS, intensity_range=RANGES)
def test_arrays(network, case, name, roi_size, intensity_range):
    img, label = case
    given = quick(name, intensity_range=intensity_range, roi_size=roi_size)
    transform = getattr(transforms, name)(network, **given)
    made = right_or_refused(lambda: transform(img, label), img, label, names=WORDS, network=network)
    if not refused(made):
        check(made, img)
        assert torch.equal(plain_tensor("again", transform(img, label)), plain_tensor("made", made))


KEYS = st.sampled_from(("image", "image", "image", ("image", "other"), "missing", ("image", "missing")))
LABEL_KEYS = st.sampled_from(("label", "label", None, "missing"))


@generated(25, 600, case=images(), name=st.sampled_from(ARRAYS), keys=KEYS, label_key=LABEL_KEYS, allow=st.booleans())
def test_dictionaries(network, case, name, keys, label_key, allow):
    img, label = case
    data = {"image": img, "other": img, "label": label, "name": "case"}
    given = quick(f"{name}d", intensity_range=None)
    transform = getattr(transforms, f"{name}d")(keys, network, label_key=label_key, allow_missing_keys=allow, **given)
    made = right_or_refused(lambda: transform(data), data, names=WORDS, network=network, also=(KeyError,), homes=HOMES)
    if not refused(made):
        assert list(made) == list(data)
        if keys != "missing":
            check(made["image"], img)


@generated(25, 700, case=images(), q=st.floats(0.5, 200), block=BLOCKS, span=RANGES)
def test_quantisation(case, q, block, span):
    img, _ = case
    transform = transforms.FrequencyQuantize(q, block, span)
    made = right_or_refused(lambda: transform(img), img, names=WORDS)
    if not refused(made):
        check(made, img)
        low, high = span or (float(plain_tensor("img", img).min()), float(plain_tensor("img", img).max()))
        plain = plain_tensor("made", made).double()
        rounding = 1e-2 * max(abs(low), abs(high)) if plain.dtype != torch.float32 else 0
        assert plain.min() >= low - 1e-6 - rounding
    rand = transforms.RandFrequencyQuantized("image", prob=0.5, block_size=block, intensity_range=span)
    data = {"image": img}
    made = right_or_refused(lambda: rand.set_random_state(3)(data), data, names=WORDS)
    if not refused(made):
        assert tuple(made["image"].shape) == tuple(img.shape)


@st.composite
def parameters(draw):
    """A transform with a parameter that has some value."""
    name = draw(st.sampled_from(("FrequencyQuantize", "RandFrequencyQuantize", *ARRAYS)))
    names = list(inspect.signature(getattr(transforms, name)).parameters)
    return name, draw(st.sampled_from(names)), draw(values)


@generated(40, 1200, case=parameters())
def test_parameters(network, case):
    name, parameter, value = case
    make = getattr(transforms, name)
    attacks = "network" in inspect.signature(make).parameters
    given = {**({"network": network} if attacks else {}), **quick(name), parameter: value}
    names = (f"{parameter}=", f"{parameter} ", parameter, "q_min", "step_size", "restarts")
    made = right_or_refused(lambda: make(**given), names=names)
    if not refused(made) and parameter not in ("steps", "restarts"):
        img = torch.rand(1, 6, 6, 7, generator=torch.Generator().manual_seed(0))
        result = right_or_refused(lambda: made(img), img, names=(*WORDS, parameter), network=network)
        if not refused(result):
            check(result, img)


@generated(20, 200, name=st.sampled_from(ARRAYS), data=st.data())
def test_names_with_typos(network, name, data):
    make = getattr(transforms, name)
    names = list(inspect.signature(make).parameters)
    typo = data.draw(typos(data.draw(st.sampled_from(names[1:]))))
    if typo not in names:
        error = right_or_refused(lambda: make(network, **{typo: 4}), names=[f"'{typo}'"])
        assert isinstance(error, TypeError)


OVERLAPS = st.one_of(st.floats(0, 0.9), values)
WINDOWS = st.one_of(st.integers(-2, 12), st.lists(st.integers(-1, 10), min_size=1, max_size=4), values)


@generated(25, 600, roi_size=WINDOWS, batch=st.one_of(st.integers(1, 4), values), overlap=OVERLAPS)
def test_windows(network, roi_size, batch, overlap):
    names = ("roi_size", "sw_batch_size", "overlap")
    windows = right_or_refused(lambda: SlidingWindowAttack(roi_size, batch, overlap), names=names)
    if refused(windows):
        return
    image = torch.rand(1, 1, 6, 7, 9, generator=torch.Generator().manual_seed(0))
    label = (image > 0.5).long()
    call = lambda: windows(BasicIterative(steps=1), network, image, label)  # noqa: E731
    made = right_or_refused(call, image, label, names=(*names, "image", "window"), network=network)
    if not refused(made):
        assert made.shape == image.shape
        assert ((made - image).abs() <= 4.01 / 255).all()


CLASSES = st.one_of(st.integers(-1, 4), values)


@generated(
    25, 700, a=CLASSES, b=CLASSES, activation=st.sampled_from(("softmax", "sigmoid", "relu")), label=labels((3, 4, 4))
)
def test_targets(a, b, activation, label):
    names = ("class", "activation", "fill", "a=", "b=", "label")
    for make in (EraseClass, SwapClasses):
        target = right_or_refused(lambda make=make: make(a, b, activation), names=names)
        if refused(target):
            continue
        made = right_or_refused(lambda target=target: target(label), label, names=("label",))
        if not refused(made):
            assert tuple(made.shape) == tuple(label.shape)
