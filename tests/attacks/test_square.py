# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from monai.metrics import compute_dice

from monai_vafa.attacks import ProjectedGradientDescent, SquareAttack
from monai_vafa.attacks.square import cube_sides

from .probes import Spy, cross_entropy


class Round(torch.nn.Module):
    """Steps of 2 of 255."""

    def forward(self, x):
        return torch.round(x * 127.5) / 127.5


class Rounded(Spy):
    """Hides its gradient."""

    def __init__(self, network):
        super().__init__(torch.nn.Sequential(Round(), network))


@pytest.fixture
def small(image):
    return image[..., :8, :8, :8]


def dsc(network, image, label):
    """Mean DSC of the three classes."""
    prediction = F.one_hot(network(image).argmax(1), 3).movedim(-1, 1)
    return float(compute_dice(prediction, F.one_hot(label[:, 0], 3).movedim(-1, 1)).nanmean())


class Levels(torch.nn.Module):
    """Three classes by the brightness of each voxel's neighbourhood."""

    def forward(self, x):
        shade = 40 * (F.avg_pool3d(x, 3, 1, 1, count_include_pad=False) - 0.5)
        return torch.cat([-shade, torch.full_like(shade, 0.5), shade], 1)


def test_takes_dsc_where_the_gradient_is_hidden(small):
    small = 0.45 + 0.1 * small
    rounded = Rounded(Levels())
    label = rounded(small).argmax(1, keepdim=True)
    pgd = ProjectedGradientDescent(random_start=False)(rounded, small, label)
    assert torch.allclose(pgd, small, atol=1e-6)
    square = SquareAttack(steps=150)(rounded, small, label)
    assert dsc(rounded, square, label) < dsc(rounded, small, label) - 0.05


def test_networks_that_pass_no_gradient(network, small, label):
    class Numpy(torch.nn.Module):
        def forward(self, x):
            assert not torch.is_grad_enabled()  # the memory for it would be wasted
            return network(torch.from_numpy(x.numpy()))

    label = label[..., :8, :8, :8]
    adversarial = SquareAttack(steps=30)(Numpy(), small, label)
    assert torch.equal(adversarial, SquareAttack(steps=30)(network, small, label))


def test_trace_holds_the_best_loss_after_each_query(network, small, label):
    label = label[..., :8, :8, :8]
    rounded = Rounded(network)
    result = SquareAttack(steps=40, loss=cross_entropy).run(rounded, small, label)
    assert len(rounded.seen) == 41
    assert torch.equal(rounded.seen[40], small)
    assert result.steps.tolist() == [40]
    with torch.no_grad():
        each = torch.stack([cross_entropy(rounded(x), label) for x in rounded.seen[:40]])
        final = cross_entropy(rounded(result.adversarial), label)
    assert torch.allclose(result.losses[:, 0], each.cummax(0).values, atol=1e-6)
    assert float(final) == pytest.approx(float(each.max()), abs=1e-6)


class Right(torch.nn.Module):
    """Says 0 everywhere, whatever it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.clone())
        return torch.cat([torch.ones_like(x), torch.zeros_like(x)], 1)


def indifferent(logits, label):
    return logits.sum() * 0


def test_starts_with_each_slice_shifted_by_eps(network, small):
    spy = Spy(network)
    SquareAttack(eps=4, steps=1)(spy, small, torch.zeros_like(small))
    change = (spy.seen[0] - small) * 255
    assert torch.allclose(change.abs(), torch.tensor(4.0), atol=1e-3)
    assert torch.allclose(change, change[:, :, :1, :1].expand_as(change), atol=1e-3)
    assert change[0, 0, 0, 0].sign().unique().numel() == 2


def test_cubes_shrink_on_the_papers_schedule(image):
    network = Right()
    SquareAttack(steps=1000, loss=indifferent, p_init=0.8)(network, image, torch.zeros_like(image))
    start = network.seen[0]  # nothing is ever better
    schedule = {1: 1, 4: 2, 10: 4, 30: 8, 80: 16, 150: 32, 300: 64, 500: 128, 700: 256, 900: 512}
    for query, divisor in schedule.items():
        changed = (network.seen[query] - start)[0, 0].abs() > 1e-6
        side = round((0.8 / divisor * 16**3) ** (1 / 3))
        for axes in ((1, 2), (0, 2)):  # slices that had the cube's shift already show no change
            assert int(changed.amax(axes).sum()) == side, query


@pytest.mark.parametrize("shape", [(64, 64, 16), (128, 128, 9), (96, 8, 8), (200, 3), (40, 40, 1)])
@pytest.mark.parametrize("p_init", [0.8, 0.3])
def test_first_cubes_have_their_share_whatever_the_aspect_ratio(shape, p_init):
    network, image = Right(), torch.full((1, 1, *shape), 0.5)
    SquareAttack(steps=2000, loss=indifferent, p_init=p_init)(network, image, torch.zeros_like(image))
    start = network.seen[0]
    cubes = torch.stack([(x - start).abs() > 1e-6 for x in network.seen[1:3]]).flatten(1)  # of the first size
    touched = [cube_sides(p_init, shape), cubes.float().mean(1)]
    assert all(side <= length for side, length in zip(touched[0], shape, strict=True))
    assert math.prod(touched[0]) / image.numel() == pytest.approx(p_init, rel=0.1)
    # About half of the stripes have the cube's shift already.
    assert 0 < float(touched[1].max()) <= math.prod(touched[0]) / image.numel() + 1e-6


def test_cubes_are_cubes_where_there_is_room():
    assert cube_sides(0.1, (32, 32, 32)) == [15, 15, 15]
    assert cube_sides(0.01, (64, 16, 64)) == [9, 9, 9]
    assert cube_sides(1, (7, 5, 3)) == [7, 5, 3]
    assert cube_sides(1e-6, (7, 5, 3)) == [1, 1, 1]


def test_no_query_is_wasted_on_what_is_there_already(small):
    network = Right()
    SquareAttack(steps=200, loss=indifferent)(network, small, torch.zeros_like(small))
    assert len(network.seen) == 201
    assert all(not torch.equal(x, network.seen[0]) for x in network.seen[1:])


@pytest.mark.parametrize("targeted", [False, True])
def test_clean_image_is_returned_where_nothing_did_more_damage(small, targeted):
    class Gray(torch.nn.Module):
        """Says 1 where an image is exactly as gray as the clean one."""

        def forward(self, x):
            same = 1e-3 - (x - 0.5).abs()
            return torch.cat([-same, same], 1)

    images = torch.cat([torch.full_like(small, 0.5), torch.full_like(small, 0.7)])
    label = torch.full_like(images, float(targeted))
    result = SquareAttack(steps=3, targeted=targeted).run(Gray(), images, label)
    assert torch.equal(result.adversarial[0], images[0])
    assert not torch.equal(result.adversarial[1], images[1])
    alone = SquareAttack(steps=3, targeted=targeted).run(Gray(), images[:1], label[:1])
    assert torch.equal(alone.adversarial[0], images[0])
    assert result.losses[-1, 0] > result.losses[-2, 0]


@pytest.mark.parametrize("shape", [(1, 2, 9, 7), (1, 1, 12, 9, 2), (2, 1, 5, 5, 5)])
def test_any_shape(shape):
    class Sum(torch.nn.Module):
        def forward(self, x):
            shade = x.sum(1, keepdim=True) - x.mean()
            return torch.cat([-shade, shade], 1)

    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    adversarial = SquareAttack(steps=20)(Sum(), image)
    assert adversarial.shape == shape
    assert float((adversarial - image).abs().max()) * 255 == pytest.approx(4, abs=1e-4)


def test_targeted_goes_the_other_way(network, small, label):
    label = label[..., :8, :8, :8]
    adversarial = SquareAttack(steps=60, targeted=True, loss=cross_entropy)(network, small, label)
    assert cross_entropy(network(adversarial), label) < cross_entropy(network(small), label)


def test_stops_for_the_volumes_that_are_all_wrong(small):
    class Bright(torch.nn.Module):
        """Wrong wherever an image is brighter than 1/2, right elsewhere."""

        def forward(self, x):
            return torch.cat([0.5 - x, x - 0.5], 1)

    images = torch.cat([torch.full_like(small, 0.2), torch.full_like(small, 0.9)])
    result = SquareAttack(steps=7).run(Bright(), images, torch.zeros_like(images))
    assert result.steps.tolist() == [7, 1]
    assert result.losses.shape == (7, 2)
    assert SquareAttack(steps=7).run(Bright(), images[1:], torch.zeros_like(small)).losses.shape == (1, 1)


def test_each_volume_sees_the_cubes_that_it_would_see_alone(small, label):
    network = Levels()
    images = torch.cat([small, small.flip(2), small.flip(3)])
    labels = label[..., :8, :8, :8].expand(3, -1, -1, -1, -1)
    together = SquareAttack(steps=40)(network, images, labels)
    for i in range(3):
        alone = SquareAttack(steps=40)(network, images[i : i + 1], labels[i : i + 1])
        assert torch.equal(together[i], alone[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"steps": 0}, "steps=0"), ({"p_init": 0}, "p_init=0"), ({"p_init": 1.5}, "p_init=1.5")],
)
def test_bad_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        SquareAttack(**wrong)
