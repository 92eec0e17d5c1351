# SPDX-License-Identifier: Apache-2.0
"""Momentum with input diversity: what the network sees, and what comes back of it."""

from __future__ import annotations

import pytest
import torch

from monai_vafa.attacks import DiverseInputsIterative, MomentumIterative

from .probes import Spy


def test_without_diversity_it_is_mifgsm(network, image, label):
    expected = MomentumIterative(steps=5).run(network, image, label)
    result = DiverseInputsIterative(steps=5, diversity=0.0).run(network, image, label)
    assert torch.equal(result.adversarial, expected.adversarial)
    assert torch.equal(result.losses, expected.losses)
    same_size = DiverseInputsIterative(steps=5, diversity=1.0, smallest=1.0)(network, image, label)
    assert ((same_size - expected.adversarial).abs() < 1e-6).float().mean() > 0.999
    assert not torch.equal(DiverseInputsIterative(steps=5)(network, image, label), expected.adversarial)


def test_the_network_sees_a_smaller_image_at_a_random_place(network):
    image = torch.rand(1, 1, 20, 16, 12, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.2
    image[0, 0, 0, 0, 0] = 0.0
    spy = Spy(network)
    DiverseInputsIterative(steps=12, diversity=1.0, smallest=0.5)(spy, image, torch.zeros_like(image))
    boxes = []
    for seen in spy.seen:
        assert seen.shape == image.shape
        inside = (seen[0, 0] > 0.1).nonzero()
        start, stop = inside.amin(0), inside.amax(0) + 1
        sides = (stop - start).tolist()
        assert all(side / 2 - 1 <= small <= side for side, small in zip(image.shape[2:], sides, strict=True))
        boxes.append((*start.tolist(), *sides))
    assert len(set(boxes)) > 6
    assert any(box[0] > 0 for box in boxes)


@pytest.mark.parametrize("shape", [(20, 18, 16), (20, 18)])
def test_logits_come_back_to_where_they_belong(shape):
    """A network without surroundings answers a smooth image nearly as it would on the image's own grid."""
    axes = torch.meshgrid(*(torch.linspace(0, 3, side) for side in shape), indexing="ij")
    image = (0.5 + 0.2 * sum(axis.sin() for axis in axes) / len(shape))[None, None]
    sides = []

    class Pointwise(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x, 1 - x], 1)

    def loss(logits, label):
        sides.append(logits.detach()[:, :1] - image)
        return logits[:, 0].mean()

    attack = DiverseInputsIterative(steps=4, diversity=1.0, smallest=0.6, loss=loss, eps=1)
    attack(Pointwise(), image, torch.ones_like(image))
    assert len(sides) == 4
    assert all(apart.abs().mean() < 0.02 for apart in sides)
    assert max(apart.abs().max() for apart in sides) > 0.005


def test_gradient_goes_through_the_resizing(image):
    """Every voxel is seen and counts, so all move by the full budget, whatever the size."""

    class Sum(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x, -x], 1)

    attack = DiverseInputsIterative(steps=4, diversity=1.0, loss=lambda logits, label: logits[:, 0].mean())
    adversarial = attack(Sum(), image, torch.zeros_like(image))
    assert torch.allclose(adversarial - image, torch.tensor(4 / 255), atol=1e-5)


def test_other_seeds_see_other_sizes(network, image, label):
    first, again, other = (DiverseInputsIterative(seed=seed)(network, image, label) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_network_fooled_by_the_resizing_alone_is_not_fooled(image):
    """It errs on every voxel as soon as the size is another: no reason to stop."""

    class Touchy(torch.nn.Module):
        def forward(self, x):
            right = 1.0 if torch.allclose(x, image, atol=5 / 255) else -1.0
            return torch.cat([torch.full_like(x, right), 0 * x], 1)

    result = DiverseInputsIterative(steps=6, diversity=1.0, loss=lambda logits, label: logits.sum()).run(
        Touchy(), image, torch.zeros_like(image)
    )
    assert result.steps.tolist() == [6]


def test_logits_of_another_size_are_refused(image, label):
    network = torch.nn.Conv3d(1, 3, 2, stride=2)
    with pytest.raises(ValueError, match=r"logits of shape \(1, 3, 8, 8, 8\) do not fit"):
        DiverseInputsIterative(diversity=1.0)(network, image, label)


def test_bad_parameters_are_named():
    for bad in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"diversity={bad}"):
            DiverseInputsIterative(diversity=bad)
    for bad in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"smallest={bad}"):
            DiverseInputsIterative(smallest=bad)
