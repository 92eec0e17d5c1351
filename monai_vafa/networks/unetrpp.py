# SPDX-License-Identifier: Apache-2.0
"""UNETR++, in its two published forms and any size in between."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from monai.networks.blocks import UnetOutBlock, UnetResBlock
from monai.utils import ensure_tuple
from torch import nn

from .paired_attention import PairedAttention, PairedAttentionBlock, PairedAttentionDecoder, PairedAttentionEncoder

_STAGES = 4
_SYNAPSE: dict[str, Any] = {"img_size": (64, 128, 128), "patch_size": (2, 4, 4), "dropout_rate": 0.15}
_ACDC: dict[str, Any] = {"img_size": (16, 160, 160), "patch_size": (1, 4, 4)}
_ACDC |= {"shared_projection": False, "num_residual_blocks": 2}


class UNETRPP(nn.Module):
    """
    UNETR++: a U-shaped network of paired-attention blocks.

    Shaker et al., "UNETR++: Delving into Efficient and Accurate 3D Medical Image Segmentation", IEEE TMI 2024. Four
    encoder stages at 1, 1/2, 1/4 and 1/8 of the patch grid, three decoder stages back up, and residual convolutions at
    full resolution. The authors' checkpoints fit the networks of :py:meth:`synapse` and :py:meth:`acdc`.

    The published weights expect (depth, height, width), the reverse of what MONAI's ``LoadImage`` returns: set
    ``depth_last``. They were trained on voxels in the order of the file, without ``Orientationd``. A network trained
    from scratch can keep MONAI's order, for example with ``img_size=(128, 128, 64), patch_size=(4, 4, 2)``. Its batch
    norm can't be trained on a single image whose coarsest feature map (``img_size / patch_size / 8``) is one voxel.

    Args:
        in_channels: number of channels of the image.
        out_channels: number of classes, with background.
        img_size: size of the image, or window, in voxels along the axes of the tensor, an int or three; each a multiple
            of 8 times ``patch_size``.
        patch_size: patch size in voxels, an int or three.
        dims: channels of each stage, an int or four; each even, and a multiple of its number of heads.
        depths: blocks of each encoder stage, an int or four.
        num_heads: attention heads, an int or four; a decoder stage has those of the encoder stage at its size.
        proj_sizes: projection size of the spatial attention of each encoder stage, an int or four.
        feature_size: channels at full resolution; ``None`` for half of ``dims[0]``.
        decoder_depth: blocks of each decoder stage.
        decoder_proj_size: projection size of the spatial attention in the decoder.
        norm_name: normalisation of the convolutions at full resolution.
        dropout_rate: share of the attention maps that is dropped in training.
        conv_dropout_rate: share of the channels that is dropped at the end of each block in training.
        shared_projection: one projection for keys and values.
        num_residual_blocks: residual convolution blocks after each attention, 1 or 2.
        deep_supervision: in training, but not in TorchScript, return a list of logits, finest first: full resolution,
            1/patch, 1/(2 patch). A checkpoint fits both ways: the two coarse heads always exist, but without deep
            supervision they require no gradient, for which parallel training would wait.
        depth_last: take and return volumes ``(B, C, width, height, depth)``, as MONAI loads them, although
            ``img_size`` is (depth, height, width).

    Raises:
        ValueError: If a parameter is out of range.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        img_size: Sequence[int] | int,
        patch_size: Sequence[int] | int = 4,
        dims: Sequence[int] | int = (32, 64, 128, 256),
        depths: Sequence[int] | int = 3,
        num_heads: Sequence[int] | int = 4,
        proj_sizes: Sequence[int] | int = (64, 64, 64, 32),
        feature_size: int | None = None,
        decoder_depth: int = 3,
        decoder_proj_size: int = 64,
        norm_name: tuple | str = "instance",
        dropout_rate: float = 0.1,
        conv_dropout_rate: float = 0.1,
        shared_projection: bool = True,
        num_residual_blocks: int = 1,
        deep_supervision: bool = False,
        depth_last: bool = False,
    ) -> None:
        super().__init__()
        image, patch = _integers("img_size", img_size, 3), _integers("patch_size", patch_size, 3)
        widths, heads = _integers("dims", dims), _integers("num_heads", num_heads)
        full = _integers("feature_size", widths[0] // 2 if feature_size is None else feature_size, 1)[0]
        (channels,), (classes,) = _integers("in_channels", in_channels, 1), _integers("out_channels", out_channels, 1)
        if any(width % 2 or width % count for width, count in zip(widths, heads, strict=True)):
            raise ValueError(f"dims={widths} must be even and multiples of num_heads={heads}.")
        encoder = list(zip(_integers("depths", depths), _integers("proj_sizes", proj_sizes), strict=True))
        decoder = _integers("decoder_depth", decoder_depth, 1) + _integers("decoder_proj_size", decoder_proj_size, 1)
        sizes = _feature_sizes(image, patch)
        dropout, conv_dropout = _rate("dropout_rate", dropout_rate), _rate("conv_dropout_rate", conv_dropout_rate)
        attend = partial(PairedAttention, dropout_rate=dropout, shared_projection=shared_projection)
        (residual,) = _integers("num_residual_blocks", num_residual_blocks, 1)
        refine = partial(PairedAttentionBlock, num_residual_blocks=residual, conv_dropout_rate=conv_dropout)

        def blocks(stage: int, depth: int, proj_size: int) -> nn.Sequential:
            size = math.prod(sizes[stage]), widths[stage]
            attention = partial(attend, *size, proj_size=proj_size, num_heads=heads[stage])
            return nn.Sequential(*(refine(attention(), *size) for _ in range(depth)))

        self.input_shape = [channels, *image]
        self.depth_last = depth_last
        self.deep_supervision = deep_supervision
        self.unetr_pp_encoder = PairedAttentionEncoder(
            channels,
            kernel_sizes=(patch, *[(2, 2, 2)] * (_STAGES - 1)),
            sizes=sizes,
            dims=widths,
            stage=lambda stage: blocks(stage, *encoder[stage]),
        )
        residual_block = partial(UnetResBlock, 3, kernel_size=3, stride=1, norm_name=norm_name)
        self.encoder1 = residual_block(channels, full)
        self.decoder5, self.decoder4, self.decoder3 = (
            PairedAttentionDecoder(widths[stage + 1], widths[stage], (2, 2, 2), blocks(stage, *decoder))
            for stage in (2, 1, 0)
        )
        self.decoder2 = PairedAttentionDecoder(widths[0], full, patch, residual_block(full, full))
        self.out1 = UnetOutBlock(3, full, classes)
        self.out2 = UnetOutBlock(3, widths[0], classes).requires_grad_(deep_supervision)
        self.out3 = UnetOutBlock(3, widths[1], classes).requires_grad_(deep_supervision)

    @classmethod
    def synapse(cls, in_channels: int = 1, out_channels: int = 14, **overrides: Any) -> UNETRPP:
        """
        Build the form published for Synapse: windows of 64 x 128 x 128, 42.95 M parameters with 14 classes.

        ``overrides`` are parameters of the class, in place of the published ones; the weights are random.
        """
        return cls(in_channels, out_channels, **{**_SYNAPSE, **overrides})

    @classmethod
    def acdc(cls, in_channels: int = 1, out_channels: int = 4, **overrides: Any) -> UNETRPP:
        """Build the form published for ACDC: windows of 16 x 160 x 160, 66.80 M parameters with 4 classes; likewise."""
        return cls(in_channels, out_channels, **{**_ACDC, **overrides})

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """
        Compute the logits.

        Args:
            image: ``(B, in_channels, *img_size)``; any other shape is a ValueError.

        Returns:
            logits ``(B, out_channels, *img_size)``; in training with ``deep_supervision`` a list that begins with them.
        """
        if self.depth_last:
            image = image.permute(0, 1, 4, 3, 2)
        if list(image.shape[1:]) != self.input_shape:
            raise ValueError(
                f"image of shape {list(image.shape)} must be a batch of {self.input_shape}: the network was built for "
                "this img_size, so give it windows of that, for example with sliding_window_inference."
            )
        features = self.unetr_pp_encoder(image)
        coarse = self.decoder5(features[3], features[2])
        middle = self.decoder4(coarse, features[1])
        fine = self.decoder3(middle, features[0])
        logits = self.out1(self.decoder2(fine, self.encoder1(image)))
        if self.depth_last:
            logits, fine, middle = [volume.permute(0, 1, 4, 3, 2) for volume in (logits, fine, middle)]
        if self.training and self.deep_supervision and not torch.jit.is_scripting():
            return [logits, self.out2(fine), self.out3(middle)]
        return logits


def _feature_sizes(img_size: tuple[int, ...], patch_size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Size of the feature map of each stage, finest first: the patch grid, then half of it, and so on."""
    times = 2 ** (_STAGES - 1)
    steps = [side * times for side in patch_size]
    fitting = tuple(math.ceil(side / step) * step for side, step in zip(img_size, steps, strict=True))
    if fitting != img_size:
        raise ValueError(f"img_size={img_size} must be multiples of {times} x patch_size={patch_size}: use {fitting}.")
    grid = [side // length for side, length in zip(img_size, patch_size, strict=True)]
    return [tuple(side // 2**stage for side in grid) for stage in range(_STAGES)]


def _integers(name: str, value: Any, count: int = _STAGES) -> tuple[int, ...]:
    """One integer above 0 for each axis or stage."""
    values = ensure_tuple(value) * (count if len(ensure_tuple(value)) == 1 else 1)
    if len(values) != count or any(not isinstance(v, numbers.Integral) or v < 1 for v in values):
        raise ValueError(f"{name}={value!r} must be {'' if count == 1 else f'an int or {count} '}ints above 0.")
    return tuple(int(v) for v in values)


def _rate(name: str, value: float) -> float:
    if not isinstance(value, numbers.Real) or not 0 <= value < 1:
        raise ValueError(f"{name}={value!r} must be at least 0 and below 1.")
    return value
