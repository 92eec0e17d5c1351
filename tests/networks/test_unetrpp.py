# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from monai_vafa.networks import UNETRPP
from monai_vafa.networks.paired_attention import PairedAttention

TINY = {
    "patch_size": 1,
    "dims": (4, 8, 16, 32),
    "depths": 1,
    "num_heads": 2,
    "proj_sizes": 4,
    "decoder_depth": 1,
    "decoder_proj_size": 4,
}


def build(in_channels=1, out_channels=3, **overrides):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNETRPP(in_channels, out_channels, **({"img_size": (8, 16, 16)} | TINY | overrides))


@settings(deadline=None, max_examples=12)
@given(
    in_channels=st.integers(1, 4),
    out_channels=st.integers(1, 5),
    patch_size=st.tuples(*[st.integers(1, 4)] * 3),
    grid=st.tuples(*[st.sampled_from([8, 16])] * 3),
    dims=st.tuples(*[st.sampled_from([2, 4, 6, 8])] * 4),
    num_residual_blocks=st.integers(1, 2),
    shared=st.booleans(),
)
def test_logits_have_the_size_of_the_image(
    in_channels, out_channels, patch_size, grid, dims, num_residual_blocks, shared
):
    image = torch.rand(2, in_channels, *(side * length for side, length in zip(grid, patch_size, strict=True)))
    sizes = {"img_size": image.shape[2:], "patch_size": patch_size, "feature_size": 2}
    try:
        network = build(
            in_channels,
            out_channels,
            **sizes,
            dims=dims,
            num_residual_blocks=num_residual_blocks,
            shared_projection=shared,
        )
    except ValueError as error:
        assert grid == (8, 8, 8)
        assert "one value in each group" in str(error)
        return
    logits = network.eval()(image)
    assert logits.shape == (2, out_channels, *image.shape[2:])
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("form", [{}, {"shared_projection": False, "num_residual_blocks": 2, "depths": (1, 2, 1, 2)}])
def test_gradient_reaches_all_that_the_output_depends_on(form, deep_supervision):
    network = build(in_channels=2, deep_supervision=deep_supervision, **form)
    outputs = network(torch.rand(2, 2, 8, 16, 16))
    sum(output.square().mean() for output in (outputs if deep_supervision else [outputs])).backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    heads = {f"{head}.conv.conv.{name}" for head in ("out2", "out3") for name in ("weight", "bias")}
    assert without == (set() if deep_supervision else heads)
    assert {name for name, parameter in network.named_parameters() if not parameter.requires_grad} == without
    assert all(p.grad.abs().max() > 0 for p in network.parameters() if p.grad is not None)


def test_gradient_reaches_the_image():
    image = torch.rand(1, 1, 8, 16, 16, requires_grad=True)
    build().eval()(image).square().mean().backward()
    assert (image.grad != 0).all()


def test_deep_supervision_returns_three_sizes_in_training():
    network = build(img_size=(16, 64, 32), patch_size=(1, 4, 2), deep_supervision=True)
    sizes = [tuple(logits.shape) for logits in network(torch.rand(2, 1, 16, 64, 32))]
    assert sizes == [(2, 3, 16, 64, 32), (2, 3, 16, 16, 16), (2, 3, 8, 8, 8)]


def test_deep_supervision_changes_nothing_else():
    image = torch.rand(2, 1, 8, 16, 16)
    without, supervised = build(), build(deep_supervision=True)
    for (name, value), (other_name, other) in zip(
        without.state_dict().items(), supervised.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(value, other)
    torch.manual_seed(1)
    trained = without(image)
    torch.manual_seed(1)
    assert torch.equal(supervised(image)[0], trained)
    evaluated = supervised.eval()(image)
    assert isinstance(evaluated, torch.Tensor)
    assert torch.equal(without.eval()(image), evaluated)


@pytest.mark.slow
def test_parallel_training_misses_no_parameter(tmp_path):
    script = Path(__file__).with_name("parallel_training.py")
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_attention_is_what_the_paper_says():
    """Written down once more, per head and without clever shapes, but for the blend of the spatial branch."""
    torch.manual_seed(0)
    attention = PairedAttention(10, 8, proj_size=3, num_heads=2, shared_projection=False).double()
    tokens = torch.randn(2, 10, 8, dtype=torch.double)
    for parameter in attention.parameters():
        parameter.data.normal_()
    weights = attention.qkvv.weight.reshape(4, 2, 4, 8)
    by_channel, by_position = [], []
    for head in range(2):
        query, key, channel_value, spatial_value = (tokens @ weight.T for weight in weights[:, head])
        mixed_key = attention.E.weight @ key + attention.E.bias[:, None]
        mixed_value = attention.F.weight @ spatial_value + attention.F.bias[:, None]
        query, key = query / query.norm(dim=1, keepdim=True), key / key.norm(dim=1, keepdim=True)
        channels = (query.mT @ key * attention.temperature[head]).softmax(-1)
        by_channel.append(channel_value @ channels.mT)
        positions = (query @ mixed_key.mT * attention.temperature2[head]).softmax(-1)
        by_position.append(positions @ mixed_value)
    blended = torch.stack(by_position).permute(1, 3, 0, 2).reshape(2, 10, 8)
    expected = torch.cat([attention.out_proj(blended), attention.out_proj2(torch.cat(by_channel, -1))], dim=-1)
    assert torch.allclose(attention(tokens), expected)


def test_shared_projection_is_one_layer_with_two_names():
    shared, apart = (PairedAttention(10, 8, proj_size=3, num_heads=2, shared_projection=s) for s in (True, False))
    assert list(shared.state_dict()) == list(apart.state_dict())
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (shared, apart)]
    assert counts[1] - counts[0] == 3 * 10 + 3


@pytest.mark.parametrize(
    ("form", "window", "rates"),
    [(UNETRPP.synapse, (64, 128, 128), {0.15, 0.1}), (UNETRPP.acdc, (16, 160, 160), {0.1})],
)
def test_published_forms_can_be_changed(form, window, rates):
    with torch.device("meta"):
        network = form()
        assert network(torch.rand(1, 1, *window)).shape[2:] == window
        changed = form(4, 3, img_size=(32, 64, 96), patch_size=(2, 4, 4), deep_supervision=True)
        assert [output.shape[1] for output in changed(torch.rand(2, 4, 32, 64, 96))] == [3, 3, 3]
    assert {
        module.p for module in network.modules() if isinstance(module, torch.nn.modules.dropout._DropoutNd)
    } == rates


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"img_size": (8, 16, 20)}, r"img_size=\(8, 16, 20\).*use \(8, 16, 24\)"),
        ({"img_size": (8, 16)}, r"img_size=\(8, 16\) must be"),
        ({"img_size": 0}, "img_size=0 must be"),
        ({"img_size": 16.0}, r"img_size=16\.0 must be"),
        ({"img_size": 24, "patch_size": 2}, r"patch_size=\(2, 2, 2\): use \(32, 32, 32\)"),
        ({"dims": (4, 8, 16)}, r"dims=\(4, 8, 16\) must be"),
        ({"dims": (4, 8, 15, 32)}, r"dims=\(4, 8, 15, 32\) must be even"),
        ({"num_heads": 3}, r"num_heads=\(3, 3, 3, 3\)"),
        ({"img_size": 8, "dims": 4}, "one value in each group"),
        ({"depths": (1, 1, 1, 0)}, "depths="),
        ({"proj_sizes": 0}, "proj_sizes=0"),
        ({"decoder_depth": 0}, "decoder_depth=0"),
        ({"feature_size": 0}, "feature_size=0"),
        ({"out_channels": 0}, "out_channels=0"),
        ({"dropout_rate": 1}, "dropout_rate=1"),
        ({"num_residual_blocks": 3}, "num_residual_blocks=3"),
    ],
)
def test_parameters_out_of_range_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16, 8), (1, 2, 8, 16, 16), (1, 8, 16, 16)])
def test_images_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"must be a batch of \[1, 8, 16, 16\].*sliding_window_inference"):
        build()(torch.rand(shape))


def test_whole_volumes_go_through_windows():
    with torch.no_grad():
        logits = sliding_window_inference(torch.rand(1, 1, 10, 24, 17), (8, 16, 16), 2, build().eval())
    assert logits.shape == (1, 3, 10, 24, 17)


def test_mixed_precision_is_close():
    network, image = build().eval(), torch.rand(1, 1, 8, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(image).float()
    assert torch.allclose(mixed, network(image), atol=0.1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_exports_give_the_same_tensor(deep_supervision):
    network, image = build(deep_supervision=deep_supervision).eval(), torch.rand(1, 1, 8, 16, 16)
    for exported in (torch.jit.script(network), torch.export.export(network, (image,)).module()):
        assert torch.allclose(exported(image), network(image), atol=1e-6)


def test_depth_may_come_last():
    network, same = build().eval(), build(depth_last=True).eval()
    same.load_state_dict(network.state_dict())
    image = torch.rand(1, 1, 8, 16, 16)
    assert torch.equal(same(image.permute(0, 1, 4, 3, 2)), network(image).permute(0, 1, 4, 3, 2))
