# SPDX-License-Identifier: Apache-2.0
"""Of the images that an attack has seen, it returns the one that leaves the fewest voxels right."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from monai_vafa.attacks import AutoPGD, CosPGD, ProjectedGradientDescent, SegPGD, SquareAttack, TsallisPGD
from monai_vafa.losses import CosPGDLoss, DiceCrossEntropyLoss, JensenShannonLoss, MaskedCrossEntropyLoss

from .probes import Spy, cross_entropy

SEARCHES = {
    "auto_pgd": partial(AutoPGD, steps=12, shrink_radius=False),
    "auto_pgd_jsd": partial(AutoPGD, steps=12, shrink_radius=False, loss=JensenShannonLoss()),
    "auto_pgd_cos": partial(AutoPGD, steps=12, shrink_radius=False, loss=CosPGDLoss()),
    "auto_pgd_dice": partial(AutoPGD, steps=12, shrink_radius=False, loss=DiceCrossEntropyLoss()),
    "square": partial(SquareAttack, steps=40),
}


def toy(seed, size=8, gain=5.0):
    """A random network that says of a random image what the label says, and the two."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.Conv3d(8, 8, 3, padding=1), torch.nn.Conv3d(8, 3, 1)]
        for layer in layers:
            torch.nn.init.kaiming_normal_(layer.weight)
        image = torch.rand(1, 1, size, size, size) * 0.8 + 0.1
    network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    with torch.no_grad():
        layers[2].bias -= network(image).mean((0, 2, 3, 4))
        layers[2].weight *= gain
        layers[2].bias *= gain
        return network, image, network(image).argmax(1, keepdim=True)


def right(network, image, label):
    """Number of voxels, with a label of several channels of classes of voxels, that are right."""
    with torch.no_grad():
        logits = network(image)
    answer = logits > 0 if label.shape[1] > 1 else logits.argmax(1, keepdim=True)
    return (answer == label).flatten(1).sum(1)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("seed", range(3))
def test_fewest_right_voxels_of_all_images_seen(name, seed):
    network, image, label = toy(seed)
    spy = Spy(network)
    adversarial = SEARCHES[name](eps=16)(spy, image, label)
    assert right(network, adversarial, label) == min(right(network, x, label) for x in spy.seen)


@pytest.mark.parametrize("name", ["auto_pgd_dice", "square"])
def test_targeted_most_voxels_as_wanted(name):
    network, image, label = toy(1)
    spy, wanted = Spy(network), label.flip(2)
    adversarial = SEARCHES[name](eps=16, targeted=True)(spy, image, wanted)
    counts = [right(network, x, wanted) for x in spy.seen]
    assert right(network, adversarial, wanted) == max(counts) > counts[0]


@pytest.mark.parametrize("name", ["auto_pgd", "auto_pgd_jsd", "square"])
def test_sigmoid_counts_the_classes_of_each_voxel(name):
    network, image, _ = toy(2)
    label = (network(image) > 0).long()
    spy = Spy(network)
    adversarial = SEARCHES[name](eps=16, activation="sigmoid")(spy, image, label)
    assert right(network, adversarial, label) == min(right(network, x, label) for x in spy.seen)


def test_among_equals_the_highest_loss(image, label):
    class Always(torch.nn.Module):
        """Right everywhere, surer in darker images."""

        def forward(self, x):
            return torch.cat([2 - x, x], 1)

    spy = Spy(Always())
    adversarial = AutoPGD(loss=cross_entropy, shrink_radius=False, steps=6)(spy, image, torch.zeros_like(label))
    losses = [float(cross_entropy(Always()(x), torch.zeros_like(label))) for x in spy.seen]
    assert float(cross_entropy(Always()(adversarial), torch.zeros_like(label))) == pytest.approx(max(losses))


@pytest.mark.parametrize("attack", [ProjectedGradientDescent, SegPGD, CosPGD, TsallisPGD])
def test_more_starts_never_help_the_model(attack):
    for seed in range(6):
        network, image, label = toy(seed)
        images, labels = torch.cat([image, image.flip(2)]), torch.cat([label, label.flip(3)])
        counts = torch.stack(
            [right(network, attack(eps=8, steps=4, restarts=n)(network, images, labels), labels) for n in (1, 2, 5)]
        )
        assert (counts.diff(dim=0) <= 0).all()


def test_a_loss_that_falls_when_voxels_turn_steers_no_worse():
    """Plain CosPGD of as many steps is no match: with its own loss as measure, AutoPGD was far behind it."""
    left = {"auto": 0, "plain": 0}
    for seed in range(4):
        network, image, label = toy(seed)
        auto = AutoPGD(eps=24, steps=60, loss=CosPGDLoss())(network, image, label)
        plain = CosPGD(eps=24, steps=60, restarts=1)(network, image, label)
        left["auto"] += int(right(network, auto, label))
        left["plain"] += int(right(network, plain, label))
    assert left["auto"] <= 1.01 * left["plain"]


def test_masked_cross_entropy_needs_no_help(network, image, label):
    """A user's own loss that forgets wrong voxels ends where ours does."""

    def masked(logits, target):
        correct = logits.argmax(1) == target[:, 0]
        return (torch.nn.functional.cross_entropy(logits, target[:, 0], reduction="none") * correct).mean()

    ours, theirs = (AutoPGD(steps=20, loss=loss)(network, image, label) for loss in (MaskedCrossEntropyLoss(), masked))
    assert torch.equal(ours, theirs)
