# SPDX-License-Identifier: Apache-2.0
"""UNETR++ and LPIPS with generated parameters and images."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import strategies as st
from torchvision.models import alexnet

from monai_vafa.metrics import LPIPSMetric
from monai_vafa.networks import UNETRPP

from .judge import generated, refused, right_or_refused
from .strategies import JSON_VALUES, values, volumes

SMALL = {"img_size": (16, 16, 16), "patch_size": 2, "dims": (4, 4, 8, 8), "depths": 1, "num_heads": 2, "proj_sizes": 2}
# Those that are numbers.
NAMES = [*inspect.signature(UNETRPP).parameters]
NAMES = [name for name in NAMES if not name.endswith(("_name", "_projection", "_supervision", "_last"))]
IMAGES = volumes(kinds=("tensor", "meta"))


@generated(25, 500, name=st.sampled_from(NAMES), value=st.one_of(values, st.sampled_from(JSON_VALUES)))
def test_parameters_of_unetrpp(name, value):
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(number, (int, float)) and number > 1000 for number in numbers):
        return  # a network of any size is built, if it fits

    def make():
        with torch.device("meta"):  # of any size, without memory
            return UNETRPP(**{**SMALL, name: value})

    made = right_or_refused(make, names=(name, "dims", "img_size", "num_heads", "feature_size"), draws=True)
    assert refused(made) or isinstance(made, UNETRPP)


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    """LPIPS with a trunk of random weights."""
    path = tmp_path_factory.mktemp("trunk") / "alexnet.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        features = alexnet(weights=None).features
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, path)
    return LPIPSMetric(trunk=path)


PLANES = st.tuples(st.integers(1, 2), st.just(1), st.sampled_from((30, 31, 33)), st.sampled_from((31, 32)))


@generated(8, 200, image=IMAGES | volumes(PLANES, kinds=("tensor", "meta")), same=st.booleans())
def test_lpips(metric, image, same):
    if not isinstance(image, torch.Tensor):
        return
    other = image.clone() if same else torch.full_like(image, 0.5 if image.is_floating_point() else 1)
    metric.reset()
    names = ("y_pred", "AlexNet needs slices")
    value = right_or_refused(lambda: metric._compute_metric(image, other), image, other, names=names)
    if not refused(value):
        assert value.shape == (image.shape[0], 1)
        assert torch.isfinite(value).all()
        assert not same or (value.abs() < 1e-5).all()
