# SPDX-License-Identifier: Apache-2.0
"""SegPGD, CosPGD and TsallisPGD against their formulas, worked in numpy for a linear network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_vafa.attacks import CosPGD, SegPGD, TsallisPGD

CLASSES, VOXELS = 3, 8
RANDOM = np.random.default_rng(2)
# Every voxel's logits see every voxel, so that the weights of the voxels decide the sign of the gradient.
MATRIX = RANDOM.standard_normal((CLASSES, VOXELS, VOXELS)) * 2
BIAS = RANDOM.standard_normal((CLASSES, VOXELS)) * 0.5
IMAGE = RANDOM.uniform(0.2, 0.8, VOXELS)
LABEL = (np.einsum("cnm,m->cn", MATRIX, IMAGE) + BIAS).argmax(0)
LABEL[::3] = (LABEL[::3] + 1) % CLASSES  # three of the eight are wrong from the start


class Linear(torch.nn.Module):
    def forward(self, x):
        matrix, bias = (torch.tensor(a, dtype=torch.float32) for a in (MATRIX, BIAS))
        return (torch.einsum("cnm,bm->bcn", matrix, x.flatten(1)) + bias).reshape(-1, CLASSES, 2, 2, 2)


def volume(values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 2, 2, 2)


def by_hand(weigh, steps, step_size, towards=1):
    """``weigh(step, p, correct)`` gives each voxel's weight; ``p`` is the softmax ``(classes, voxels)``."""
    x = IMAGE
    onehot = np.eye(CLASSES)[LABEL].T
    for step in range(steps):
        logits = np.einsum("cnm,m->cn", MATRIX, x) + BIAS
        p = np.exp(logits) / np.exp(logits).sum(0)
        weight = weigh(step, p, logits.argmax(0) == LABEL)
        gradient = np.einsum("n,cn,cnm->m", weight, p - onehot, MATRIX) / VOXELS
        x = x + towards * step_size / 255 * np.sign(gradient)
    return x


def cosine(p):
    onehot = np.eye(CLASSES)[LABEL].T
    return (p * onehot).sum(0) / np.sqrt((p**2).sum(0)) / np.sqrt((onehot**2).sum(0))


def attacked(attack):
    return attack(Linear(), volume(IMAGE), volume(LABEL)).flatten().numpy()


def plain(step, p, correct):
    return np.ones(VOXELS)


def of_cosine(step, p, correct):
    return cosine(p)


def of_lack_of_cosine(step, p, correct):
    return 1 - cosine(p)


def seg_pgd(total):
    def weigh(step, p, correct):
        wrong = step / (2 * total)
        return np.where(correct, 1 - wrong, wrong)

    return weigh


@pytest.mark.parametrize("steps", [1, 4])
def test_seg_pgd(steps):
    expected = by_hand(seg_pgd(steps), steps, step_size=1)
    attack = SegPGD(eps=8, step_size=1, steps=steps, random_start=False)
    np.testing.assert_allclose(attacked(attack), expected, atol=1e-6)
    assert np.abs(expected - by_hand(plain, steps, step_size=1)).max() > 1e-3


def test_weight_of_wrong_voxels_grows_with_the_steps():
    """So that the comparison over four steps can fail."""

    def frozen(step, p, correct):
        return correct.astype(float)

    assert np.abs(by_hand(seg_pgd(4), 4, step_size=1) - by_hand(frozen, 4, step_size=1)).max() > 1e-3


def tsallis(start, end, total):
    def weigh(step, p, correct):
        q = start + (end - start) * step / max(total - 1, 1)
        return np.take_along_axis(p, LABEL[None], 0)[0] ** (1 - q)

    return weigh


@pytest.mark.parametrize(("start", "end"), [(-2.0, 1.0), (0.5, -1.0)])
@pytest.mark.parametrize("steps", [1, 4])
def test_tsallis_pgd(steps, start, end):
    expected = by_hand(tsallis(start, end, steps), steps, step_size=1)
    attack = TsallisPGD(eps=8, step_size=1, steps=steps, random_start=False, q_start=start, q_end=end)
    np.testing.assert_allclose(attacked(attack), expected, atol=1e-6)
    assert np.abs(expected - by_hand(plain, steps, step_size=1)).max() > 1e-3


def test_q_rises_as_published():
    """And the comparison over four steps can fail."""
    assert (TsallisPGD().q_start, TsallisPGD().q_end) == (-2, 1)
    rising, still = (by_hand(tsallis(-2.0, end, 4), 4, step_size=1) for end in (1.0, -2.0))
    assert np.abs(rising - still).max() > 1e-3


@pytest.mark.parametrize("name", ["q_start", "q_end"])
def test_impossible_q_is_named(name):
    with pytest.raises(ValueError, match=f"{name}=1.5 must be at most 1"):
        TsallisPGD(**{name: 1.5})


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("targeted", [False, True])
def test_cos_pgd(steps, targeted):
    weigh, towards = (of_lack_of_cosine, -1) if targeted else (of_cosine, 1)
    expected = by_hand(weigh, steps, 1, towards)
    attack = CosPGD(eps=8, step_size=1, steps=steps, random_start=False, targeted=targeted)
    np.testing.assert_allclose(attacked(attack), expected, atol=1e-6)
    assert np.abs(expected - by_hand(plain, steps, 1, towards)).max() > 1e-3
    assert np.abs(expected - by_hand(of_cosine if targeted else of_lack_of_cosine, steps, 1, towards)).max() > 1e-3


def test_targeted_cos_pgd_comes_closer_to_the_target():
    before = Linear()(volume(IMAGE))
    after = Linear()(volume(attacked(CosPGD(eps=64, targeted=True))))
    hits = [(logits.argmax(1).flatten().numpy() == LABEL).sum() for logits in (before, after)]
    assert hits[1] > hits[0]


def test_all_start_like_pgd(network, image, label):
    for attack_class in (SegPGD, CosPGD, TsallisPGD):
        assert attack_class().restarts == 2
        assert attack_class().step_size == 1
        one = attack_class(steps=1, seed=1)(network, image, label)
        assert not torch.equal(one, attack_class(steps=1, seed=2)(network, image, label))


@pytest.mark.parametrize(
    ("attack_class", "name"),
    [
        *((SegPGD, name) for name in ("loss", "targeted", "recipe")),
        *((CosPGD, name) for name in ("loss", "recipe")),
        *((TsallisPGD, name) for name in ("loss", "targeted", "recipe")),
    ],
)
def test_what_is_part_of_the_attack_is_refused(attack_class, name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument .{name}"):
        attack_class(**{name: True})
