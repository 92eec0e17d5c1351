# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import urllib.error
import warnings

import lpips
import pytest
import torch
from monai.data import MetaTensor
from torchvision.models import alexnet

from monai_vafa.metrics import LPIPSMetric, TrunkUnavailable


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A random AlexNet, saved as torchvision saves its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = alexnet(weights=None).features.state_dict()
    path = tmp_path_factory.mktemp("trunk") / "alexnet.pth"
    torch.save({f"features.{key}": value for key, value in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def by_hand(trunk):
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    state = torch.load(trunk, weights_only=True)
    for k, positions in enumerate([(0,), (3,), (6,), (8,), (10,)], start=1):
        for n in positions:
            layer = getattr(net.net, f"slice{k}").get_submodule(str(n))
            layer.load_state_dict({part: state[f"features.{n}.{part}"] for part in ("weight", "bias")})
    return net


@pytest.fixture
def metric(trunk):
    made = LPIPSMetric(trunk=trunk)
    made.batch_size = 4
    return made


def volumes(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator), torch.rand(*shape, generator=generator)


def test_identical_volumes_are_at_distance_zero(metric):
    x, _ = volumes(2, 1, 33, 35, 3)
    value = metric(y_pred=x, y=x.clone())
    assert value.shape == (2, 1)
    assert value.dtype == torch.float32
    assert (value == 0).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_equals_the_library_called_slice_by_slice(metric, by_hand, channels):
    x, y = volumes(2, channels, 40, 36, 3)
    value = metric(y_pred=x, y=y)
    for b in range(2):
        distances = []
        for c in range(channels):
            for d in range(3):
                pair = (v[b, c, :, :, d].expand(1, 3, 40, 36) * 2 - 1 for v in (x, y))
                with torch.no_grad():
                    distances.append(by_hand(*pair).item())
        assert value[b, 0].item() == pytest.approx(sum(distances) / len(distances), rel=1e-5)
        assert value[b, 0] > 0


def test_each_volume_is_measured_by_itself(metric):
    x, y = volumes(3, 1, 32, 32, 3)
    together = metric(y_pred=x, y=y)
    alone = torch.cat([metric(y_pred=x[i : i + 1], y=y[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone)
    assert together.unique().numel() == 3


def test_batch_size_does_not_change_the_value(metric):
    x, y = volumes(1, 1, 32, 32, 5)
    values = []
    for metric.batch_size in (1, 3, 16):
        values.append(metric(y_pred=x, y=y))
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[0], values[2])


def test_image_counts_as_one_slice(metric):
    x, y = volumes(2, 1, 32, 32)
    torch.testing.assert_close(metric(y_pred=x, y=y), metric(y_pred=x[..., None], y=y[..., None]))


def test_accumulates_and_reduces_as_other_metrics(trunk):
    metric = LPIPSMetric(get_not_nans=True, trunk=trunk)
    x, y = volumes(3, 1, 32, 32, 2)
    first = metric(y_pred=x[:2], y=y[:2])
    second = metric(y_pred=list(x[2:]), y=list(y[2:]))
    mean, count = metric.aggregate()
    torch.testing.assert_close(mean, torch.cat([first, second]).mean().reshape(mean.shape))
    assert count == 3
    each, _ = metric.aggregate(reduction="none")
    assert each.shape == (3, 1)
    metric.reset()


def test_takes_meta_tensors_half_precision_and_autocast(metric):
    x, y = volumes(1, 1, 32, 32, 2)
    expected = metric(y_pred=x, y=y)
    value = metric(y_pred=MetaTensor(x.clone().requires_grad_()), y=MetaTensor(y))
    assert type(value) is torch.Tensor
    assert not value.requires_grad
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(metric(y_pred=x.half(), y=y.half()), expected, rtol=1e-2, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(metric(y_pred=x, y=y), expected)


def test_building_neither_warns_nor_moves_the_random_numbers(trunk):
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric = LPIPSMetric(trunk=trunk, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert not metric.net.training


@pytest.mark.parametrize(
    ("pred", "ref", "words"),
    [
        ((1, 1, 32, 32, 2), (1, 1, 32, 32, 3), "shapes dont match"),
        ((1, 32, 32), (1, 32, 32), "got 3 dimensions"),
        ((1, 1, 32, 32, 2, 2), (1, 1, 32, 32, 2, 2), "1 to 3 spatial axes"),
        ((1, 1, 30, 32, 2), (1, 1, 30, 32, 2), "at least 31 x 31, got 30 x 32"),
        ((1, 1, 32, 30), (1, 1, 32, 30), "at least 31 x 31, got 32 x 30"),
        ((1, 1, 32, 32, 0), (1, 1, 32, 32, 0), "not empty"),
    ],
)
def test_wrong_shapes(metric, pred, ref, words):
    with pytest.raises(ValueError, match=words):
        metric(y_pred=torch.zeros(pred), y=torch.zeros(ref))


def test_least_side_is_really_the_least(metric, by_hand):
    x, y = volumes(1, 1, 31, 31, 1)
    assert metric(y_pred=x, y=y).isfinite().all()
    with pytest.raises(RuntimeError):
        by_hand(torch.zeros(1, 3, 30, 31), torch.zeros(1, 3, 30, 31))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_must_be_finite(metric, bad):
    x, y = volumes(1, 1, 32, 32, 1)
    x[0, 0, 3, 3, 0] = bad
    with pytest.raises(ValueError, match=r"y_pred must have values in \[0, 1\], got"):
        metric(y_pred=x, y=y)
    with pytest.raises(ValueError, match=r"y must have values in \[0, 1\], got"):
        metric(y_pred=y, y=x)


def test_trunk_with_wrong_tensors_is_named(trunk, tmp_path):
    state = torch.load(trunk, weights_only=True)
    del state["features.3.bias"]
    state["features.8.weight"] = state["features.8.weight"].permute(2, 3, 1, 0)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"missing or of the wrong shape: features\.3\.bias, features\.8\.weight"):
        LPIPSMetric(trunk=tmp_path / "bad.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"features\.0\.weight"):
        LPIPSMetric(trunk=tmp_path / "list.pth")


@pytest.fixture
def no_trunk(monkeypatch, tmp_path):
    """A machine that has no trunk and no network."""

    def closed(*args, **kwargs):
        raise urllib.error.URLError("closed")

    monkeypatch.setenv("MONAI_VAFA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", closed)


def test_missing_trunk(no_trunk, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        LPIPSMetric(trunk=tmp_path / "none.pth")
    with pytest.raises(TrunkUnavailable, match="python -m monai_vafa fetch_lpips_trunk"):
        LPIPSMetric()


def test_small_volumes_are_left_out_when_asked_for(trunk):
    metric = LPIPSMetric(trunk=trunk, skip_small=True)
    x, y = volumes(2, 1, 30, 40, 3)
    value = metric(y_pred=x, y=y)
    assert value.shape == (2, 1)
    assert value.isnan().all()
    x, y = volumes(1, 1, 31, 31, 3)
    assert torch.equal(metric(y_pred=x, y=y), LPIPSMetric(trunk=trunk)(y_pred=x, y=y))


@pytest.mark.parametrize("change", [lambda x: x * 255, lambda x: x * 2 - 1])
def test_values_of_another_scale_are_refused(trunk, change):
    x, y = volumes(1, 1, 31, 31, 3)
    with pytest.raises(ValueError, match=r"must have values in \[0, 1\]"):
        LPIPSMetric(trunk=trunk)(y_pred=change(x), y=change(y))


def test_if_available_is_the_metric_as_it_was_asked_for(trunk):
    metric = LPIPSMetric.if_available(trunk=trunk, device="cpu", skip_small=True)
    clean, noisy = volumes(1, 1, 32, 32, 2)
    assert torch.equal(metric(noisy, clean), LPIPSMetric(trunk=trunk)(noisy, clean))
    assert metric(noisy[..., :8, :8, :], clean[..., :8, :8, :]).isnan().all()


def test_if_not_available_the_log_says_why(no_trunk, caplog):
    assert LPIPSMetric.if_available(device="cpu") is None
    assert "a metric is left out: " in caplog.text
    assert "python -m monai_vafa fetch_lpips_trunk" in caplog.text
