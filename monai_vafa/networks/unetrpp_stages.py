# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoder and decoder stages of UNETR++."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks.dynunet_block import get_conv_layer
from monai.networks.layers.utils import get_norm_layer
from torch import nn

from .paired_attention import PairedAttentionBlock

__all__ = ["PairedAttentionDecoder", "PairedAttentionEncoder", "feature_sizes", "paired_attention_stage"]


def feature_sizes(img_size: Sequence[int], patch_size: Sequence[int], stages: int) -> list[tuple[int, ...]]:
    """
    Give the size of the feature map of each stage: the patch grid, then half of it, and so on.

    Args:
        img_size: image size in voxels along each axis.
        patch_size: patch size in voxels along each axis.
        stages: number of stages.

    Returns:
        sizes in voxels, finest first.

    Raises:
        ValueError: When the image can't be halved that often; gives the next size that can.
    """
    times = 2 ** (stages - 1)
    steps = [side * times for side in patch_size]
    fitting = tuple(math.ceil(side / step) * step for side, step in zip(img_size, steps, strict=True))
    if fitting != tuple(img_size):
        raise ValueError(
            f"img_size={tuple(img_size)} must be a multiple of {times} times patch_size={tuple(patch_size)}: use "
            f"{fitting}, or another patch_size."
        )
    grid = [side // length for side, length in zip(img_size, patch_size, strict=True)]
    return [tuple(side // 2**stage for side in grid) for stage in range(stages)]


def paired_attention_stage(depth: int, size: Sequence[int], hidden_size: int, **kwargs: Any) -> nn.Sequential:
    """
    Chain paired-attention blocks.

    Args:
        depth: number of blocks.
        size: size of the feature map, in voxels along each axis.
        hidden_size: number of its channels.
        kwargs: further parameters of :class:`PairedAttentionBlock`.

    Returns:
        the blocks, one after the other.
    """
    return nn.Sequential(*(PairedAttentionBlock(math.prod(size), hidden_size, **kwargs) for _ in range(depth)))


class PairedAttentionEncoder(nn.Module):
    """
    Stages of paired-attention blocks, each after a convolution that shrinks the feature map.

    Shaker et al., IEEE TMI 2024, section III-A. The first convolution cuts the image into patches, the others halve.

    Args:
        in_channels: number of channels of the image.
        kernel_sizes: what each stage shrinks its input by, in voxels along each axis.
        sizes: size of the feature map of each stage, in voxels along each axis.
        dims: channels of each stage.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        proj_sizes: projection size of each stage.
        kwargs: further parameters of :class:`PairedAttentionBlock`.

    Raises:
        ValueError: When there is nothing to normalise.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        kernel_sizes: Sequence[Sequence[int]],
        sizes: Sequence[Sequence[int]],
        dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int],
        proj_sizes: Sequence[int],
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList()
        self.stages = nn.ModuleList()
        before = in_channels
        for kernel, size, width, depth, heads, projection in zip(
            kernel_sizes, sizes, dims, depths, num_heads, proj_sizes, strict=True
        ):
            # The published forms have as many groups as channels come in; the divisor extends that to any widths.
            groups = math.gcd(before, width)
            if math.prod(size) * width == groups:
                raise ValueError(
                    f"dims={tuple(dims)} leave one value in each group of the group norm at a feature map "
                    f"of {tuple(size)}: use more channels there than in the stage before, or a larger img_size."
                )
            self.downsample_layers.append(
                nn.Sequential(
                    get_conv_layer(3, before, width, kernel_size=kernel, stride=kernel),
                    get_norm_layer(name=("group", {"num_groups": groups}), channels=width),
                )
            )
            self.stages.append(
                paired_attention_stage(depth, size, width, proj_size=projection, num_heads=heads, **kwargs)
            )
            before = width
        # The authors' start for training from scratch, which in their code reaches the encoder only.
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """
        Encode.

        Args:
            image: ``(B, C, D, H, W)``.

        Returns:
            the feature map of each stage, finest first.
        """
        features = []
        for downsample, stage in zip(self.downsample_layers, self.stages):  # noqa: B905 (TorchScript has no strict)
            image = stage(downsample(image))
            features.append(image)
        return features


class PairedAttentionDecoder(nn.Module):
    """
    Enlarge a feature map, add the encoder's at that size, and refine the sum.

    Shaker et al., IEEE TMI 2024, section III-A.

    Args:
        in_channels: channels of the coarse feature map.
        out_channels: channels of the encoder's and of the result.
        kernel_size: what the feature map grows by, along each axis.
        refine: module the sum goes through.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: Sequence[int], refine: nn.Module) -> None:
        super().__init__()
        self.transp_conv = get_conv_layer(
            3, in_channels, out_channels, kernel_size=kernel_size, stride=kernel_size, is_transposed=True
        )
        # A list of one, for the names of the published checkpoints.
        self.decoder_block = nn.ModuleList([refine])

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """
        Decode.

        Args:
            coarse: ``(B, in_channels, D, H, W)``.
            skip: the encoder's feature map, ``(B, out_channels, D', H', W')`` with sides ``kernel_size`` times as long.

        Returns:
            the shape of ``skip``.
        """
        return self.decoder_block[0](self.transp_conv(coarse) + skip)
