# SPDX-License-Identifier: Apache-2.0
"""FGSM, BIM, PGD: steps, recipes, random starts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monai_vafa.attacks import BasicIterative, FastGradientSign, ProjectedGradientDescent

from .probes import Spy, cross_entropy


def first_step(attack, network, image, label):
    """Largest change of the first step, in gray values."""
    spy = Spy(network)
    attack(spy, image, label)
    return float((spy.seen[1] - spy.seen[0]).abs().max()) * 255


@pytest.mark.parametrize(("recipe", "eps", "step"), [("tuned", 8, 2), ("tuned", 2, 0.5), ("upstream", 8, 2.55)])
def test_recipes_differ_in_their_step(network, image, label, recipe, eps, step):
    for attack_class in (BasicIterative, ProjectedGradientDescent):
        attack = attack_class(recipe=recipe, eps=eps, steps=2)
        assert attack.step_size == pytest.approx(step)
    attack = BasicIterative(recipe=recipe, eps=eps, steps=2)
    assert first_step(attack, network, image, label) == pytest.approx(step, abs=1e-3)


def test_recipes_of_fgsm_are_the_same(network, image, label):
    tuned, upstream = (FastGradientSign(recipe=r)(network, image, label) for r in ("tuned", "upstream"))
    assert torch.equal(tuned, upstream)


def test_one_step_moves_along_the_sign_of_the_gradient(network, image, label):
    moved = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(network(moved), label), moved)
    adversarial = FastGradientSign(eps=4, loss=cross_entropy)(network, image, label)
    assert torch.allclose(adversarial, image + 4 / 255 * gradient.sign(), atol=1e-6)
    towards = FastGradientSign(eps=4, loss=cross_entropy, targeted=True)(network, image, label)
    assert torch.allclose(towards, image - 4 / 255 * gradient.sign(), atol=1e-6)


def test_random_start_is_random_and_within_the_ball(network, image, label):
    spy = Spy(network)
    ProjectedGradientDescent(eps=4, steps=1, restarts=2)(spy, image, label)
    starts = [x - image for x in (spy.seen[0], spy.seen[2])]
    assert not torch.allclose(*starts)
    for change in starts:
        assert change.abs().max() * 255 <= 4 + 1e-4
        assert change.std() * 255 == pytest.approx(4 / 3**0.5, rel=0.05)  # of a uniform distribution


def test_seed_decides_the_start(network, image, label):
    def attack(seed):
        return ProjectedGradientDescent(steps=1, seed=seed, step_size=0.1, restarts=1)(network, image, label)

    assert torch.equal(attack(3), attack(3))
    assert not torch.allclose(attack(3), attack(4), atol=1e-3)


def test_without_random_start_it_is_bim(network, image, label):
    pgd = ProjectedGradientDescent(random_start=False, steps=3)(network, image, label)
    assert torch.equal(pgd, BasicIterative(steps=3)(network, image, label))


@pytest.mark.parametrize(
    ("kwargs", "restarts"),
    [({}, 2), ({"recipe": "upstream"}, 1), ({"random_start": False}, 1), ({"restarts": 3}, 3)],
)
def test_number_of_starts_of_the_recipes(network, image, label, kwargs, restarts):
    spy = Spy(network)
    ProjectedGradientDescent(steps=1, **kwargs)(spy, image, label)
    judged = restarts if restarts > 1 else 0
    assert len(spy.seen) == restarts + judged


def test_more_starts_are_never_worse_for_any_volume(network, image, label):
    images = torch.cat([image, image.flip(2), image.flip(3) * 0.9, image.flip(4) * 0.7])
    labels = torch.cat([label, label.flip(3), label, label.flip(2)])
    final = []
    for restarts in (1, 2, 4):
        attack = ProjectedGradientDescent(steps=2, step_size=0.4, restarts=restarts, loss=cross_entropy)
        adversarial = attack(network, images, labels)
        final.append(F.cross_entropy(network(adversarial), labels[:, 0], reduction="none").flatten(1).mean(1))
    assert (final[1] >= final[0]).all()
    assert (final[2] >= final[1]).all()
    assert (final[2] > final[0]).any()


def test_trace_of_the_better_start_when_one_is_done_earlier():
    class Threshold(torch.nn.Module):
        """Says 1 everywhere once the mean has reached 1/2."""

        def forward(self, x):
            shift = (x.mean() - 0.5).expand_as(x) + 0 * x
            return torch.cat([-shift, shift], 1)

    flat = torch.full((1, 1, 2, 2, 2), 0.5 - 2 / 255)
    attack = ProjectedGradientDescent(eps=4, step_size=0.5, steps=9, restarts=3, seed=2)
    result = attack.run(Threshold(), flat, torch.zeros_like(flat))
    used = int(result.steps[0])
    assert used < len(result.losses)
    assert torch.isfinite(result.losses[:used]).all()
    assert result.losses[used:].isnan().all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"step_size": 0}, "step_size=0"),
        ({"steps": 1.5}, "steps=1.5"),
        ({"restarts": 0}, "restarts=0"),
        ({"restarts": 2, "random_start": False}, "restarts=2 needs random_start=True"),
        ({"recipe": "mine"}, "recipe='mine'"),
    ],
)
def test_bad_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        ProjectedGradientDescent(**wrong)


def test_texts_are_no_truth_values():
    with pytest.raises(TypeError, match="random_start='false'"):
        ProjectedGradientDescent(random_start="false")
