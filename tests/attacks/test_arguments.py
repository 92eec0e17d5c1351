# SPDX-License-Identifier: Apache-2.0
"""Arguments that are wrong, or plausible but senseless, are refused by name, and so are images and labels."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch

from monai_vafa.attacks import (
    ROSTER,
    BasicIterative,
    CoefficientAttack,
    EraseClass,
    GaussianNoise,
    MomentumIterative,
    PerceptualFrequencyAttack,
    ProjectedGradientDescent,
    QuantizeOnly,
    SlidingWindowAttack,
    SquareAttack,
    SwapClasses,
    VolumetricFrequencyAttack,
)
from monai_vafa.transforms import FrequencyQuantize, PGDd


@pytest.mark.parametrize("name", [name for name, entry in ROSTER.items() if entry.budget])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, "4", None, True, [4]])
def test_budgets_of_the_whole_roster(name, wrong):
    budget = ROSTER[name].budget
    with pytest.raises((TypeError, ValueError), match=f"{budget}="):
        ROSTER[name].build(**{budget: wrong})


@pytest.mark.parametrize("name", [name for name, entry in ROSTER.items() if entry.budget not in (None, "rho")])
@pytest.mark.parametrize("share", [8 / 255, 2 / 255, 0.03])
def test_shares_of_1_are_not_taken_for_intensity_levels(name, share):
    with pytest.raises(ValueError, match=f"{ROSTER[name].budget}=.*0-255|q_min"):
        ROSTER[name].build(**{ROSTER[name].budget: share})


def test_the_message_names_the_budget_that_was_meant():
    with pytest.raises(ValueError, match=r"did you mean eps=8\?"):
        BasicIterative(eps=8 / 255)
    with pytest.raises(ValueError, match=r"did you mean step_size=2\?"):
        BasicIterative(eps=8, step_size=2 / 255, steps=10)
    assert (BasicIterative(eps=8).eps, BasicIterative(eps=8, step_size=2, steps=10).step_size) == (8, 2)


def test_small_budgets_of_the_literature_pass_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert ProjectedGradientDescent(eps=0.25).eps == 0.25
    assert "less than one intensity level" in caplog.text


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (BasicIterative, {"step_size": math.nan}),
        (BasicIterative, {"steps": "5"}),
        (BasicIterative, {"steps": 2.5}),
        (BasicIterative, {"seed": -1}),
        (BasicIterative, {"seed": 2**63}),
        (BasicIterative, {"seed": 1.5}),
        (BasicIterative, {"progress": "no"}),
        (BasicIterative, {"intensity_range": (0, math.inf)}),
        (BasicIterative, {"intensity_range": ("0", "1")}),
        (BasicIterative, {"ignore_label": "255"}),
        (MomentumIterative, {"decay": math.nan}),
        (SquareAttack, {"p_init": math.nan}),
        (PerceptualFrequencyAttack, {"contrast_masking": math.nan}),
        (PerceptualFrequencyAttack, {"band_weights": (1.0, math.nan)}),
        (GaussianNoise, {"sigma": math.inf}),
        (VolumetricFrequencyAttack, {"q_max": math.inf}),
        (VolumetricFrequencyAttack, {"q_min": math.nan}),
        (VolumetricFrequencyAttack, {"block_size": 0}),
        (VolumetricFrequencyAttack, {"block_size": (8, 8, 0)}),
        (VolumetricFrequencyAttack, {"block_size": math.nan}),
        (QuantizeOnly, {"block_size": -8}),
        (QuantizeOnly, {"block_size": "8"}),
        (PerceptualFrequencyAttack, {"block_size": 2.5}),
        (FrequencyQuantize, {"q": math.nan}),
        (FrequencyQuantize, {"q": "20"}),
        (FrequencyQuantize, {"block_size": 0}),
    ],
)
def test_impossible_values_are_named_when_the_object_is_made(make, wrong):
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        make(**wrong)


@pytest.mark.parametrize("attack", [PerceptualFrequencyAttack, CoefficientAttack])
@pytest.mark.parametrize("block_size", [10**6, 2.0**54])
def test_blocks_that_would_fill_the_memory_are_refused(network, image, label, attack, block_size):
    with pytest.raises(ValueError, match=r"block_size=.* is far larger than the image"):
        attack(block_size=block_size)(network, image, label)


def test_numbers_of_numpy_are_numbers(image):
    attack = QuantizeOnly(q=np.float32(20), block_size=np.int64(8), seed=np.int64(3))
    assert torch.equal(attack(torch.nn.Identity(), image), QuantizeOnly(q=20, block_size=8)(torch.nn.Identity(), image))
    assert attack.parameters["seed"] == 3
    assert FrequencyQuantize(block_size=np.int64(8))(image[0]).shape == image[0].shape


@pytest.mark.parametrize("value", [torch.inf, torch.nan, -torch.inf])
def test_labels_with_infinity_are_named(network, image, label, value):
    label = label.float()
    label[0, 0, 0, 0, 0] = value
    for call in (BasicIterative(steps=1), lambda *a: SlidingWindowAttack(8)(BasicIterative(steps=1), *a)):
        with pytest.raises(ValueError, match="label holds 1 NaN or infinite"):
            call(network, image, label)


def test_empty_images_are_named(network, image, label):
    for call in (BasicIterative(steps=1), lambda *a: SlidingWindowAttack(8)(BasicIterative(steps=1), *a)):
        for empty in (image[..., :0], image[:0], image[:, :0]):
            with pytest.raises(ValueError, match="image is empty"):
                call(network, empty, label[..., : empty.shape[-1]])


def test_big_endian_arrays(network, image, label):
    attack = BasicIterative(steps=2)
    expected = attack(network, image, label)
    big = image.numpy().astype(">f4"), label.numpy().astype(">i2")
    assert np.array_equal(attack(network, *big), expected)
    assert np.array_equal(SlidingWindowAttack(16)(attack, network, *big), expected)
    data = PGDd("image", network, label_key="label", steps=2)({"image": big[0][0], "label": big[1][0]})
    assert data["image"].shape == (1, 16, 16, 16)
    quantized = FrequencyQuantize(block_size=8)
    assert np.allclose(quantized(big[0][0]), quantized(image[0]))


@pytest.mark.parametrize("wrong", [[[1.0]], "image", np.array(["a"]), torch.zeros(1, 1, 8, 8, dtype=torch.complex64)])
def test_what_is_no_image_is_named(network, wrong):
    with pytest.raises(TypeError, match="image must be a tensor or NumPy array"):
        BasicIterative(steps=1)(network, wrong)


def test_frequency_quantize_refuses_what_would_spread(image):
    image[0, 0, 3, 3, 3] = torch.nan
    with pytest.raises(ValueError, match="1 NaN"):
        FrequencyQuantize(block_size=8)(image[0])


def test_an_image_that_fills_nothing_of_its_range_is_told(network, image, label, caplog):
    BasicIterative(steps=1, intensity_range=(0, 255))(network, image, label)
    assert "next to nothing of intensity_range" in caplog.text
    caplog.clear()
    BasicIterative(steps=1)(network, image, label)
    assert caplog.text == ""


def test_targets_that_change_nothing_are_refused():
    for make in (lambda: EraseClass(0), lambda: EraseClass(2, fill=2), lambda: SwapClasses(1, 1)):
        with pytest.raises(ValueError, match="as it is"):
            make()
    label = torch.tensor([[0, 1, 2]])
    for target in (EraseClass(9), SwapClasses(7, 8)):
        with pytest.raises(ValueError, match="nothing to change"):
            target(label)
    with pytest.raises(ValueError, match="nothing to change"):
        EraseClass(1, activation="sigmoid")(torch.zeros(2, 4))
    assert EraseClass(1)(label).tolist() == [[0, 0, 2]]
