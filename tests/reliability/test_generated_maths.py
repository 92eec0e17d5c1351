# SPDX-License-Identifier: Apache-2.0
"""Frequency functions, losses and metrics with generated tensors."""

from __future__ import annotations

import math
from pathlib import Path

import monai.metrics
import torch
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_vafa import frequency, losses, metrics, outputs

from .judge import PACKAGE, generated, refused, right_or_refused
from .strategies import LOSSES, VALUES, shapes, values, volumes

TENSORS = volumes(kinds=("tensor", "tensor", "meta")).filter(lambda x: isinstance(x, torch.Tensor))
DIMS = st.sampled_from((1, 2, 3, 3, 3, 0, 4, -1, None, "3", 2.0, True))
SIDES = st.one_of(st.integers(1, 13), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from(VALUES))
# SSIM of MONAI checks the shapes itself.
MONAI_METRICS = Path(monai.metrics.__file__).parent


@generated(25, 700, x=TENSORS, dims=DIMS)
def test_cosine_transform(x, dims):
    names = ("spatial_dims", "floating")
    there = right_or_refused(lambda: frequency.dct(x, dims), x, names=names)
    if refused(there):
        return
    back = right_or_refused(lambda: frequency.idct(there, dims), there, names=names)
    assert there.shape == back.shape == x.shape
    assert there.dtype == back.dtype == x.dtype
    scale = x.detach().double().abs().amax() if x.numel() else torch.tensor(0.0)
    if x.numel() and torch.isfinite(scale) and scale < torch.finfo(x.dtype).max / 2000:
        accuracy = max(torch.finfo(x.dtype).eps, 2e-7) * 40
        assert torch.allclose(back.double(), x.double(), atol=float(accuracy * scale), rtol=0)


@generated(25, 800, x=TENSORS, block=SIDES)
def test_blocks(x, block):
    blocks = right_or_refused(lambda: frequency.split_blocks(x, block), x, names=("block_size", "volume"))
    if refused(blocks):
        return
    whole = right_or_refused(lambda: frequency.merge_blocks(blocks, x.shape[2:]), blocks, names=("spatial_shape",))
    assert torch.equal(torch.nan_to_num(whole), torch.nan_to_num(x))
    assert whole.dtype == x.dtype


@generated(25, 600, x=TENSORS, shape=shapes(4, voxels=500))
def test_blocks_that_do_not_fit(x, shape):
    whole = right_or_refused(lambda: frequency.merge_blocks(x, shape), x, names=("spatial_shape", "blocks"))
    if not refused(whole):
        assert tuple(whole.shape[2:]) == shape


STEPS = st.one_of(st.floats(0.1, 300), st.sampled_from(VALUES), st.just(torch.tensor(5.0)))


@generated(25, 700, x=TENSORS, table=STEPS, block=SIDES)
def test_quantisation(x, table, block):
    names = ("block_size", "volume", "table", "DCT")
    made = right_or_refused(lambda: frequency.quantize_image(x, table, block), x, names=names)
    if not refused(made):
        assert made.shape == x.shape
        if x.numel() and torch.isfinite(x.detach().float()).all():
            assert ((made >= 0) & (made <= 1)).all()


@generated(25, 500, x=TENSORS, alpha=st.one_of(st.floats(0.001, 0.999), values))
def test_soft_rounding(x, alpha):
    made = right_or_refused(lambda: frequency.soft_round(x, alpha), x, names=("alpha", "u "))
    if not refused(made):
        assert made.shape == x.shape
        plain = x.detach().float()
        small = plain.abs() < 1e4
        assert ((made.float() - plain).abs()[small] <= 1.001).all()


@generated(25, 600, weights=st.one_of(st.lists(st.floats(0, 9), max_size=12), values), block=SIDES)
def test_bands(weights, block):
    try:
        sides = frequency.block_sides(block)
    except ValueError:
        sides = (4, 4, 4)
    if len(sides) < 2 or math.prod(sides) > 10**6:
        return
    made = right_or_refused(lambda: frequency.expand_bands(weights, sides), weights, names=("band_weights",))
    if not refused(made):
        assert tuple(made.shape) == sides
        assert torch.isfinite(made).all()


@generated(25, 500, block=st.one_of(SIDES, values), dims=st.sampled_from((None, 1, 2, 3)))
def test_sides_of_blocks(block, dims):
    made = right_or_refused(lambda: frequency.block_sides(block, dims), names=("block_size",))
    if not refused(made):
        assert all(type(side) is int and side > 0 for side in made)


@st.composite
def answers(draw):
    """Logits and label: usually such as fit."""
    if draw(st.integers(0, 3)) == 0:
        return draw(TENSORS), draw(TENSORS)
    classes, batch = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    floats = ("float32", "float32", "float16", "bfloat16", "float64")
    logits = draw(volumes(st.just((batch, classes, *shape)), dtypes=floats, kinds=("tensor", "meta")))
    channels = draw(st.sampled_from((1, 1, classes)))
    seed = draw(st.integers(0, 999))
    label = torch.randint(
        classes + draw(st.integers(0, 1)), (batch, channels, *shape), generator=torch.Generator().manual_seed(seed)
    )
    label = label - draw(st.sampled_from((0, 0, 0, 0, 1)))
    dtype = draw(st.sampled_from((torch.int64, torch.int64, torch.float32, torch.uint8, torch.bool, torch.float16)))
    return logits, MetaTensor(label.to(dtype)) if draw(st.booleans()) else label.to(dtype)


@generated(
    40, 1500, make=st.sampled_from(LOSSES), activation=st.sampled_from((None, "softmax", "sigmoid")), case=answers()
)
def test_segmentation_losses(make, activation, case):
    logits, label = case
    names = ("label", "logits", "target", "input", "ground truth")
    loss = right_or_refused(lambda: make(activation=activation)(logits, label), logits, label, names=names)
    if refused(loss):
        return
    assert loss.shape == ()
    assert loss.is_floating_point()
    finite = torch.isfinite(logits.detach()).all() and logits.detach().double().abs().max() < 1e4
    assert not finite or torch.isfinite(loss)


PARAMETERS = (
    (losses.SoftDiceLoss, "activation"),
    (losses.SegPGDLoss, "wrong_weight"),
    (losses.MaskedCrossEntropyLoss, "balanced"),
    (losses.TsallisLoss, "q"),
    (losses.BlockSSIMLoss, "reduction"),
)


@generated(25, 500, case=st.sampled_from(PARAMETERS), value=values)
def test_parameters_of_losses(case, value):
    make, parameter = case
    right_or_refused(lambda: make(**{parameter: value}), names=(parameter,))


PAIRS = st.tuples(TENSORS, st.booleans(), TENSORS)


@generated(30, 900, pair=PAIRS, block=SIDES, reduction=st.sampled_from(("mean", "sum", "none")))
def test_losses_of_pairs(pair, block, reduction):
    x, same, other = pair
    y = x.clone() if same else other
    consistency = losses.FrequencyConsistencyLoss()
    loss = right_or_refused(lambda: consistency(x, y), x, y, names=("input", "target", "shape", "logits", "floating"))
    if not refused(loss) and torch.isfinite(x.detach()).all():
        assert loss.shape == ()
        assert not same or loss.detach() == 0 or not torch.isfinite(loss.detach()) or x.detach().abs().max() > 1e25
    names = ("input", "target", "block_size", "volume")
    loss = right_or_refused(lambda: losses.BlockSSIMLoss(block, reduction)(x, y), x, y, names=names)
    if not refused(loss):
        assert torch.isfinite(loss).all()
        assert (loss > -1e-6).all()
        assert not same or (loss < 1e-3).all()


@generated(40, 1200, pair=PAIRS, metric=st.sampled_from(("linf", "rmse", "changed", "ssim")))
def test_distances(pair, metric):
    x, same, other = pair
    y = x.clone() if same else other
    call = {
        "linf": lambda: metrics.linf_distance(x, y),
        "rmse": lambda: metrics.rmse_distance(x, y),
        "changed": lambda: metrics.changed_voxel_rate(x, y),
        "ssim": lambda: metrics.FittingSSIMMetric(2 if x.ndim == 4 else 3)(x, y),
    }[metric]
    names = ("y_pred", "y ", "data_range", "only batch dimension")
    value = right_or_refused(call, x, y, names=names, homes=(PACKAGE, MONAI_METRICS))
    if not refused(value):
        assert value.shape[0] == x.shape[0]
        assert not torch.isnan(value.detach().float()).any(), value
        assert not same or metric == "ssim" or torch.isnan(x).any() or (value == 0).all()


@generated(
    30,
    500,
    output=st.recursive(
        TENSORS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.dictionaries(st.sampled_from(("pred", "out", "a", "logits")), inner, max_size=2),
            st.tuples(inner),
        ),
        max_leaves=4,
    )
    | values,
    activation=st.one_of(st.sampled_from(("softmax", "sigmoid")), values),
)
def test_outputs(output, activation):
    logits = right_or_refused(lambda: outputs.as_logits(output), names=("network",))
    right_or_refused(lambda: outputs.check_activation(activation), names=("activation",))
    if isinstance(logits, torch.Tensor) and logits.ndim > 2 and logits.shape[1] and logits.is_floating_point():
        predicted = right_or_refused(lambda: outputs.predicted_labels(logits), logits, names=("logits",))
        assert not predicted.is_floating_point()
