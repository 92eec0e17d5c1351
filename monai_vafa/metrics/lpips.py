# SPDX-License-Identifier: Apache-2.0
"""Perceptual distance between volumes."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path

import lpips
import torch
from monai.utils import MetricReduction

from .slices import SliceMetric
from .trunk import find_trunk


class LPIPSMetric(SliceMetric):
    """Learned perceptual image patch similarity (LPIPS) of volumes, slice by slice.

    As in Hanif et al. (MICCAI 2023): the AlexNet variant of LPIPS (Zhang et al., CVPR 2018; heads of version 0.1)
    compares the slices along the last axis, each channel as an image of three equal ones scaled to [-1, 1], and the
    mean is taken. A distance, 0 for identical volumes; papers print the similarity ``100 * (1 - LPIPS)``, in percent.

    Args:
        reduction, get_not_nans: see :class:`monai.metrics.regression.RegressionMetric`.
        trunk: file with a torchvision AlexNet state dict (``.pth``), read without running any code in it. ``None``
            looks in this package's cache, then among torch hub's checkpoints, then tries torchvision's download.
        device: where to compute; ``None`` computes where ``y_pred`` is.
        skip_small: return NaN for volumes whose slices are too small for AlexNet, instead of raising.

    Raises:
        FileNotFoundError: If ``trunk`` is given and is not a file.
        TrunkUnavailable: If no trunk can be found or downloaded.
        ValueError: If tensors of the trunk are missing or of the wrong shape.

    Example::

        metric = LPIPSMetric()
        metric(y_pred=adversarial, y=clean)  # two tensors (B, C, H, W, D) with values in [0, 1]
        similarity = 100 * (1 - metric.aggregate().item())
    """

    name = "AlexNet"
    min_side = 31  # for which its second pooling has something to pool

    def __init__(
        self,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        get_not_nans: bool = False,
        *,
        trunk: str | PathLike[str] | None = None,
        device: torch.device | str | None = None,
        skip_small: bool = False,
    ) -> None:
        super().__init__(reduction=reduction, get_not_nans=get_not_nans)
        self.device = torch.device(device) if device is not None else None
        self.skip_small = skip_small
        self.net = _build_network(find_trunk(trunk))

    def _compare(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.net.to(y.device)
        three = (part.expand(-1, 3, -1, -1) for part in (y_pred, y))
        return torch.as_tensor(self.net(*three, normalize=True)).flatten()


def _build_network(trunk: Path) -> torch.nn.Module:
    """Build AlexNet LPIPS with the convolutions from a torchvision AlexNet state dict."""
    # The library first draws random trunk weights, which must not affect the caller's random state.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # The library calls torchvision by its old `pretrained` argument.
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        net: torch.nn.Module = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    try:
        given = torch.load(trunk, map_location="cpu", weights_only=True)
    # A damaged file can raise anything, and torch's message would advise to run its code.
    except Exception as error:
        raise ValueError(f"{trunk} is not a file of weights ({type(error).__name__}): name another trunk") from error
    alexnet = net.get_submodule("net")
    own = alexnet.state_dict()
    # `sliceK.N.weight` of the library is `features.N.weight` of torchvision.
    names = {key: f"features.{key.partition('.')[2]}" for key in own}
    given = given if isinstance(given, dict) else {}
    if bad := [name for key, name in names.items() if getattr(given.get(name), "shape", None) != own[key].shape]:
        raise ValueError(f"{trunk} is not a torchvision AlexNet: missing or of the wrong shape: {', '.join(bad)}")
    alexnet.load_state_dict({key: given[name] for key, name in names.items()})
    return net.eval().requires_grad_(False)
