# SPDX-License-Identifier: Apache-2.0
"""What UNETR++ is made of: paired attention, and its encoder and decoder stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from monai.networks.blocks import UnetResBlock
from monai.networks.blocks.dynunet_block import get_conv_layer
from torch import nn
from torch.nn.functional import normalize


class PairedAttention(nn.Module):
    """
    Attention between channels and attention between positions, which share their queries and keys.

    Section III-B of the paper of UNETR++. Positions are compared with ``proj_size`` learned mixtures of positions, so
    that the cost is linear in their number. Modules are named as in the published checkpoints: ``E`` and ``F`` mix the
    positions of keys and values, and are one layer with both names with ``shared_projection``; ``out_proj`` follows the
    spatial branch and ``out_proj2`` the channel branch.
    """

    def __init__(
        self,
        num_positions: int,
        hidden_size: int,
        *,
        proj_size: int,
        num_heads: int = 4,
        dropout_rate: float = 0.0,
        shared_projection: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.temperature2 = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkvv = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.E = nn.Linear(num_positions, proj_size)
        self.F = self.E if shared_projection else nn.Linear(num_positions, proj_size)
        self.channel_dropout = nn.Dropout(dropout_rate)
        self.spatial_dropout = nn.Dropout(dropout_rate)
        self.out_proj = nn.Linear(hidden_size, hidden_size // 2)
        self.out_proj2 = nn.Linear(hidden_size, hidden_size // 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Attend over ``(B, N, C)``; the result has spatial attention in the first half of its channels."""
        batch, positions, channels = tokens.shape
        parts = self.qkvv(tokens).reshape(batch, positions, 4, self.num_heads, channels // self.num_heads)
        # each (B, heads, C / heads, N)
        query, key, channel_value, spatial_value = parts.permute(2, 0, 3, 4, 1).unbind(0)
        mixed_key, mixed_value = self.E(key), self.F(spatial_value)
        query, key = normalize(query, dim=-1), normalize(key, dim=-1)

        channel_map = torch.softmax(query @ key.transpose(-2, -1) * self.temperature, dim=-1)
        by_channel = self.channel_dropout(channel_map) @ channel_value
        by_channel = by_channel.permute(0, 3, 1, 2).reshape(batch, positions, channels)

        spatial_map = torch.softmax(query.transpose(-2, -1) @ mixed_key * self.temperature2, dim=-1)
        by_position = self.spatial_dropout(spatial_map) @ mixed_value.transpose(-2, -1)
        # This one is (B, heads, N, C / heads), so that the same reshape mixes positions into channels. The published
        # weights were trained with that and need it.
        by_position = by_position.permute(0, 3, 1, 2).reshape(batch, positions, channels)
        return torch.cat((self.out_proj(by_position), self.out_proj2(by_channel)), dim=-1)


class PairedAttentionBlock(nn.Module):
    """Paired attention over a feature map, then 1 or 2 residual convolution blocks, each added to its input."""

    def __init__(
        self,
        attention: PairedAttention,
        num_positions: int,
        hidden_size: int,
        *,
        num_residual_blocks: int,
        conv_dropout_rate: float,
    ) -> None:
        super().__init__()
        if num_residual_blocks not in (1, 2):
            raise ValueError(f"num_residual_blocks={num_residual_blocks!r} must be 1 or 2.")
        residual = partial(UnetResBlock, 3, hidden_size, hidden_size, kernel_size=3, stride=1, norm_name="batch")
        # Almost zero, so that a new block is its convolutions alone.
        self.gamma = nn.Parameter(torch.full((hidden_size,), 1e-6))
        self.pos_embed = nn.Parameter(torch.zeros(1, num_positions, hidden_size))
        self.norm = nn.LayerNorm(hidden_size)
        self.epa_block = attention
        self.conv51 = residual()
        self.conv52 = residual() if num_residual_blocks == 2 else nn.Identity()
        self.conv8 = nn.Sequential(nn.Dropout3d(conv_dropout_rate), nn.Conv3d(hidden_size, hidden_size, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Refine a feature map ``(B, C, D, H, W)``."""
        tokens = features.flatten(2).transpose(1, 2) + self.pos_embed
        tokens = tokens + self.gamma * self.epa_block(self.norm(tokens))
        attended = tokens.transpose(1, 2).reshape(features.shape)
        return attended + self.conv8(self.conv52(self.conv51(attended)))


class PairedAttentionEncoder(nn.Module):
    """Stages of paired-attention blocks, each after a convolution: the first makes patches, the others halve."""

    def __init__(
        self,
        in_channels: int,
        *,
        kernel_sizes: Sequence[Sequence[int]],
        sizes: Sequence[Sequence[int]],
        dims: Sequence[int],
        stage: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList()
        self.stages = nn.ModuleList()
        before = in_channels
        for number, (kernel, size, width) in enumerate(zip(kernel_sizes, sizes, dims, strict=True)):
            # The published forms have as many groups as input channels; the divisor extends that to any widths.
            groups = math.gcd(before, width)
            if math.prod(size) * width == groups:
                raise ValueError(
                    f"dims={tuple(dims)} leave one value in each group of the group norm at a feature map "
                    f"of {tuple(size)}: use more channels there than in the stage before, or a larger img_size."
                )
            patches = get_conv_layer(3, before, width, kernel_size=kernel, stride=kernel)
            self.downsample_layers.append(nn.Sequential(patches, nn.GroupNorm(groups, width)))
            self.stages.append(stage(number))
            before = width
        # The authors' initialisation, which in their code reaches the encoder only.
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Feature map of each stage for an image ``(B, C, D, H, W)``, finest first."""
        features = []
        for downsample, stage in zip(self.downsample_layers, self.stages):  # noqa: B905 (TorchScript has no strict)
            image = stage(downsample(image))
            features.append(image)
        return features


class PairedAttentionDecoder(nn.Module):
    """Enlarges a feature map by ``kernel_size``, adds the encoder's of that size, and refines the sum."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sequence[int], refine: nn.Module) -> None:
        super().__init__()
        self.transp_conv = get_conv_layer(3, in_channels, out_channels, kernel_size, kernel_size, is_transposed=True)
        # A list, for the names of the published checkpoints.
        self.decoder_block = nn.ModuleList([refine])

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Decode the coarse feature map and the encoder's."""
        return self.decoder_block[0](self.transp_conv(coarse) + skip)
