# SPDX-License-Identifier: Apache-2.0
"""A network with a broken gradient must not look robust."""

from __future__ import annotations

import warnings

import pytest
import torch

from monai_vafa.attacks import (
    BasicIterative,
    PerceptualFrequencyAttack,
    SlidingWindowAttack,
    SquareAttack,
)

from .probes import BY_GRADIENT, cross_entropy


@pytest.fixture(params=BY_GRADIENT)
def make(request):
    return BY_GRADIENT[request.param]


class _Gradient(torch.autograd.Function):
    """Passes an image on, and puts a value into its gradient, everywhere or in one corner of 4 x 4 x 4 voxels."""

    @staticmethod
    def forward(ctx, image, value, everywhere):
        ctx.value, ctx.everywhere = value, everywhere
        return image.clone()

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        gradient[... if ctx.everywhere else (..., slice(4), slice(4), slice(4))] = ctx.value
        return gradient, None, None


class Broken(torch.nn.Module):
    def __init__(self, network, value, everywhere=True):
        super().__init__()
        self.network, self.value, self.everywhere = network, value, everywhere

    def forward(self, x):
        return self.network(_Gradient.apply(x, self.value, self.everywhere))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nothing_left_to_follow_is_an_error(make, network, image, label, value):
    with pytest.raises(ValueError, match=r"gradient is NaN or infinite in 100 % of the voxels.*no sign of robustness"):
        make()(Broken(network, value), image, label)


def test_square_root_at_zero(make, network, image, label):
    class Root(torch.nn.Module):
        def forward(self, x):
            return network(x + (x - x).square().sum().sqrt())

    with pytest.raises(ValueError, match="sqrt, log, norm"):
        make()(Root(), image, label)


def test_one_broken_volume_of_a_batch_is_enough(network, image, label):
    class Half(torch.nn.Module):
        def forward(self, x):
            return torch.cat([network(x[:1]), network(_Gradient.apply(x[1:], torch.nan, True))])

    with pytest.raises(ValueError, match="NaN or infinite in 100 %"):
        BasicIterative(steps=2)(Half(), image.repeat(2, 1, 1, 1, 1), label.repeat(2, 1, 1, 1, 1))


def test_single_entries_are_counted_and_told(make, network, image, label):
    with pytest.warns(UserWarning, match="gradient is NaN or infinite in some voxels"):
        result = make().run(Broken(network, torch.nan, everywhere=False), image, label)
    # Where the network sees the image at another size, the corner is about as large in the image itself.
    resampled = make is BY_GRADIENT["di_mi_fgsm"]
    assert result.nonfinite.tolist() == pytest.approx([1 / 64], rel=0.3 if resampled else 1e-6)
    assert torch.isfinite(result.adversarial).all()
    assert not torch.equal(result.adversarial, image)


def test_one_infinite_entry_stops_nobody(network, image, label):
    with pytest.warns(UserWarning, match="NaN or infinite"):
        attacked = PerceptualFrequencyAttack(steps=3)(Broken(network, torch.inf, everywhere=False), image, label)
    assert float((attacked - image).square().mean().sqrt()) * 255 == pytest.approx(4, rel=0.05)  # its budget


def test_zero_everywhere_is_counted_and_told(make, network, image, label):
    with pytest.warns(UserWarning, match="gradient is zero everywhere"):
        result = make().run(Broken(network, 0.0), image, label)
    assert result.zero_gradient.tolist() == [1]
    assert result.nonfinite.tolist() == [0]


def test_healthy_gradients_say_nothing(make, network, image, label):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = make().run(network, image, label)
    assert result.nonfinite.tolist() == [0]
    assert result.zero_gradient.tolist() == [0]


def test_a_volume_that_is_all_wrong_needs_no_gradient(make, image):
    class Fooled(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x * 0 - 1, x * 0 + 1], 1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make()(Fooled(), image, torch.zeros_like(image))


def test_gradients_that_float16_cannot_hold(network, image, label):
    def steep(logits, target):
        return 1e6 * cross_entropy(logits, target)

    with pytest.raises(ValueError, match="amp='float16' take 'bfloat16'"):
        BasicIterative(steps=2, amp="float16", loss=steep)(network, image, label)


@pytest.mark.parametrize("attack", [BasicIterative(steps=4), SquareAttack(steps=9)])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_and_losses_that_are_not_finite_any_more(attack, network, image, label, value):
    class Later(torch.nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return network(x) * (value if self.calls > 2 else 1)

    with pytest.raises(ValueError, match="not finite"):
        attack(Later(), image, label)

    def loss(logits, target):
        return (logits.sum() * 0).exp() * value

    with pytest.raises(ValueError, match="loss"):
        type(attack)(loss=loss)(network, image, label)


def test_windows_tell_their_mean(network, image, label):
    class FirstWindow(torch.nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return Broken(network, torch.nan, everywhere=False)(x) if self.calls <= 3 else network(x)

    with pytest.warns(UserWarning, match="NaN or infinite"):
        result = SlidingWindowAttack((16, 16, 8)).run(BasicIterative(steps=3), FirstWindow(), image, label)
    assert result.nonfinite.tolist() == pytest.approx([1 / 32 / 2])  # 4^3 of 16 x 16 x 8 voxels, in one window of two
    assert result.zero_gradient.tolist() == [0]
