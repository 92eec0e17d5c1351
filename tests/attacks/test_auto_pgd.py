# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_vafa.attacks import AutoPGD
from monai_vafa.losses import JensenShannonLoss, MaskedCrossEntropyLoss

from .probes import Spy, cross_entropy


def measured(loss, network, image, label):
    with torch.no_grad():
        return float(loss(network(image), label))


def gray_values(change):
    return float(change.abs().max()) * 255


class Hill(torch.nn.Module):
    """Two channels; with :func:`height` as loss a hill whose top is ``top``, ridges of different steepness."""

    def __init__(self, top, slope):
        super().__init__()
        self.top = torch.tensor(top, dtype=torch.float32).reshape(1, 1, 1, 1, -1)
        self.slope = torch.tensor(slope, dtype=torch.float32).reshape(1, 1, 1, 1, -1)

    def forward(self, x):
        y = -self.slope * (x - self.top).abs()
        return torch.cat([y, -y], 1)


def height(logits, label):
    return logits[:, 0].sum()


def algorithm_1(x0, top, slope, eps, checkpoints, steps):
    """The paper's Algorithm 1 on the hill, line by line; returns all images judged, and the best."""

    def f(x):
        return -(slope * np.abs(x - top)).sum()

    def slope_at(x):
        return np.sign(top - x)

    def project(x):
        return np.clip(x, np.maximum(x0 - eps, 0), np.minimum(x0 + eps, 1))

    eta = 2 * eps
    xs = [x0, project(x0 + eta * slope_at(x0))]
    seen = list(xs)
    gains = [f(x) for x in xs]
    best = max(xs, key=f)
    last, eta_at_last, best_at_last = 0, None, None
    for k in range(1, steps):
        if k in checkpoints:
            rises = sum(gains[i + 1] > gains[i] for i in range(last, k))
            eta_before = eta
            if rises < 0.75 * (k - last) or (eta_at_last == eta and best_at_last == f(best)):
                eta /= 2
                xs[k], gains[k] = best, f(best)
            last, eta_at_last, best_at_last = k, eta_before if eta == eta_before else None, f(best)
        z = project(xs[k] + eta * slope_at(xs[k]))
        xs.append(project(xs[k] + 0.75 * (z - xs[k]) + 0.25 * (xs[k] - xs[k - 1])))
        seen.append(xs[-1])
        gains.append(f(xs[-1]))
        best = xs[-1] if f(xs[-1]) > f(best) else best
    return seen, best


@pytest.mark.parametrize(
    ("steps", "checkpoints"),
    [(9, {2, 4, 6, 7, 8}), (20, {5, 9, 12, 14, 16, 18, 19}), (100, {22, 41, 57, 70, 80, 87, 93, 99})],
)
@pytest.mark.parametrize(
    ("away", "slope"),
    [
        ([2.3, -5.2, 30.0], [1.0, 0.3, 0.2]),
        ([-0.6, -10.0, -4.2], [1.8, 2.6, 0.8]),  # where 20 steps meet condition 2 without condition 1
    ],
)
def test_algorithm_1_by_hand(steps, checkpoints, away, slope):
    x0, eps = np.array([0.5, 0.4, 0.6]), 8 / 255
    top, slope = x0 + np.array(away) / 255, np.array(slope)
    expected, best = algorithm_1(x0, top, slope, eps, checkpoints, steps)
    spy = Spy(Hill(top, slope))
    attack = AutoPGD(eps=8, steps=steps, loss=height, random_start=False, shrink_radius=False)
    image = torch.tensor(x0, dtype=torch.float32).reshape(1, 1, 1, 1, 3)
    adversarial = attack(spy, image, torch.ones(1, 1, 1, 1, 3))
    np.testing.assert_allclose(torch.stack(spy.seen).reshape(steps + 1, 3), np.stack(expected), atol=1e-6)
    np.testing.assert_allclose(adversarial.flatten(), best, atol=1e-6)


def test_halved_steps_come_closer_to_the_top_than_the_first_step_could():
    x0 = torch.full((2, 1, 1, 1, 3), 0.5)
    x0[1] = 0.3
    top = (0.5 + np.array([2.3, -5.2, 3.1]) / 255, [1.0, 1.0, 1.0])
    attack = AutoPGD(eps=8, steps=40, loss=height, random_start=False, shrink_radius=False)
    adversarial = attack(Hill(*top), x0, torch.ones_like(x0))
    assert gray_values(adversarial[0] - torch.tensor(top[0], dtype=torch.float32)) < 1
    # ... while the other volume, far from its top, goes on to the end of its ball.
    assert torch.allclose(adversarial[1], x0[1] + 8 / 255, atol=1e-6)


@pytest.mark.parametrize("loss", [None, JensenShannonLoss(), cross_entropy])
@pytest.mark.parametrize("shrink_radius", [False, True])
def test_best_image_seen_within_eps_is_kept(network, image, label, loss, shrink_radius):
    spy = Spy(network)
    adversarial = AutoPGD(steps=12, loss=loss, shrink_radius=shrink_radius)(spy, image, label)
    judge = JensenShannonLoss() if isinstance(loss, JensenShannonLoss) else cross_entropy
    last_stage = spy.seen[-7:] if shrink_radius else spy.seen
    heights = [measured(judge, network, x, label) for x in last_stage]
    assert measured(judge, network, adversarial, label) == pytest.approx(max(heights), abs=1e-6)
    assert len(spy.seen) == 12 + (3 if shrink_radius else 1)


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_never_below_the_start_of_pgd(network, image, label, steps):
    for seed in range(3):
        spy = Spy(network)
        attack = AutoPGD(steps=steps, seed=seed, loss=cross_entropy, shrink_radius=False)
        adversarial = attack(spy, image, label)
        assert cross_entropy(network(adversarial), label) >= cross_entropy(network(spy.seen[0]), label)
        assert cross_entropy(network(adversarial), label) > cross_entropy(network(image), label)


def test_random_start(network, image, label):
    starts = []
    for attack in (AutoPGD(steps=1, seed=1), AutoPGD(steps=1, seed=2), AutoPGD(steps=1, random_start=False)):
        spy = Spy(network)
        attack(spy, image, label)
        starts.append(spy.seen[0])
    assert not torch.allclose(starts[0], starts[1])
    assert 3.5 < gray_values(starts[0] - image) <= 4 + 1e-4
    assert torch.allclose(starts[2], image, atol=1e-6)


def test_radius_shrinks_and_each_stage_starts_from_the_best_of_the_former(network, image, label):
    spy = Spy(network)
    result = AutoPGD(eps=4, steps=10, loss=cross_entropy).run(spy, image, label)
    stages = [spy.seen[:4], spy.seen[4:8], spy.seen[8:]]  # 3, 3, 4 steps, and one look at the end of each
    assert [len(stage) for stage in stages] == [4, 4, 5]
    for stage, radius in zip(stages, (8, 6, 4), strict=True):
        assert max(gray_values(x - image) for x in stage) == pytest.approx(radius, abs=1e-3)
    for former, stage, radius in zip(stages, stages[1:], (6, 4), strict=False):
        best = max(former, key=lambda x: measured(cross_entropy, network, x, label))
        pulled = image + (best - image).clamp(-radius / 255, radius / 255)
        assert torch.allclose(stage[0], pulled, atol=1e-6)
    assert result.losses.shape == (10, 1)
    assert result.steps.tolist() == [10]


@pytest.mark.parametrize("steps", [1, 3])
def test_too_few_steps_for_larger_radii_stay_within_eps(network, image, label, steps):
    spy = Spy(network)
    AutoPGD(eps=4, steps=steps)(spy, image, label)
    assert len(spy.seen) == steps + 1
    assert max(gray_values(x - image) for x in spy.seen) <= 4 + 1e-4


def test_success_beyond_eps_does_not_count():
    class Threshold(torch.nn.Module):
        """Right everywhere until an image is 5 gray values brighter."""

        def forward(self, x):
            shift = (x.mean() - 0.5 - 5 / 255).expand_as(x) + 0 * x
            return torch.cat([-shift, shift], 1)

    image = torch.full((1, 1, 4, 4, 4), 0.5)
    result = AutoPGD(eps=4, steps=20, loss=cross_entropy).run(Threshold(), image, torch.zeros_like(image))
    assert gray_values(result.adversarial - image) <= 4 + 1e-4
    assert int(result.steps[0]) < 20  # the larger balls were left early
    assert (Threshold()(result.adversarial).argmax(1) == 0).all()


def test_trace_is_the_loss_of_the_steps(network, image, label):
    spy = Spy(network)
    result = AutoPGD(steps=5, shrink_radius=False).run(spy, image, label)
    expected = [measured(MaskedCrossEntropyLoss(), network, x, label) for x in spy.seen[:5]]
    np.testing.assert_allclose(result.losses.flatten(), expected, atol=1e-5)


def test_masked_loss_pulls_at_correct_voxels_only():
    class Pointwise(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x - 0.5, 0.5 - x], 1)

    image = torch.tensor([0.4, 0.45, 0.55, 0.6]).reshape(1, 1, 1, 2, 2)  # says 1, 1, 0, 0
    label = torch.tensor([0, 1, 0, 1]).reshape(1, 1, 1, 2, 2)
    spy = Spy(Pointwise())
    AutoPGD(eps=1, steps=1, random_start=False)(spy, image, label)
    moved = (spy.seen[1] - image).flatten() * 255
    np.testing.assert_allclose(moved, [0, 1, -1, 0], atol=1e-3)


@pytest.mark.parametrize("loss", [None, MaskedCrossEntropyLoss()])
def test_masked_loss_has_no_targeted_form(loss):
    with pytest.raises(ValueError, match=r"targeted=True: .*give another loss, such as cross entropy"):
        AutoPGD(targeted=True, loss=loss)


def test_targeted_with_a_loss_that_can(network, image, label):
    adversarial = AutoPGD(targeted=True, loss=cross_entropy)(network, image, label)
    assert cross_entropy(network(adversarial), label) < cross_entropy(network(image), label)


@pytest.mark.parametrize("name", ["random_start", "shrink_radius"])
def test_texts_are_no_truth_values(name):
    with pytest.raises(TypeError, match=f"{name}='false'"):
        AutoPGD(**{name: "false"})
