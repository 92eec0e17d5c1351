# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Efficient paired attention, the block that UNETR++ is made of."""

from __future__ import annotations

import torch
from monai.networks.blocks import UnetResBlock
from torch import nn
from torch.nn.functional import normalize

__all__ = ["PairedAttention", "PairedAttentionBlock"]


class PairedAttention(nn.Module):
    """
    Attention between channels and attention between positions, which share their queries and keys.

    Shaker et al., "UNETR++: Delving into Efficient and Accurate 3D Medical Image Segmentation", IEEE TMI 2024,
    section III-B. Positions are not compared with each other but with ``proj_size`` learned mixtures of them, so that
    the cost is linear in their number. Modules have the names of the published checkpoints: ``E`` and ``F`` mix the
    positions of keys and values, ``out_proj`` follows the spatial branch and ``out_proj2`` the channel branch.

    Args:
        num_positions: N, the number of positions; fixed, because ``E`` and ``F`` depend on it.
        hidden_size: C, the number of channels; even, and a multiple of ``num_heads``.
        proj_size: number of mixtures of positions.
        num_heads: number of heads.
        dropout_rate: share of either attention map that is dropped in training.
        shared_projection: keys and values are mixed by one layer; its state has both names, ``E`` and ``F``.
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
        """
        Attend.

        Args:
            tokens: ``(B, N, C)``.

        Returns:
            ``(B, N, C)``, the first half of the channels from the spatial branch, the second from the channel branch.
        """
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
        # This one is (B, heads, N, C / heads), so that the same reshape blends positions into channels. The published
        # weights were trained with that, and are worthless without.
        by_position = by_position.permute(0, 3, 1, 2).reshape(batch, positions, channels)
        return torch.cat((self.out_proj(by_position), self.out_proj2(by_channel)), dim=-1)


class PairedAttentionBlock(nn.Module):
    """
    Paired attention over a feature map, then residual convolutions, each added to what came in.

    Args:
        num_positions: number of voxels of the feature map.
        hidden_size: number of channels.
        proj_size: see :class:`PairedAttention`.
        num_heads: see :class:`PairedAttention`.
        dropout_rate: see :class:`PairedAttention`.
        shared_projection: see :class:`PairedAttention`.
        num_residual_blocks: residual convolution blocks after the attention, 1 or 2.
        conv_dropout_rate: share of the channels that is dropped after them in training.

    Raises:
        ValueError: When there are more or fewer residual blocks.
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
        num_residual_blocks: int = 1,
        conv_dropout_rate: float = 0.1,
    ) -> None:
        super().__init__()
        if num_residual_blocks not in (1, 2):
            raise ValueError(f"num_residual_blocks={num_residual_blocks!r} must be 1 or 2.")
        # Next to nothing, so that a block starts as its convolutions alone.
        self.gamma = nn.Parameter(torch.full((hidden_size,), 1e-6))
        self.pos_embed = nn.Parameter(torch.zeros(1, num_positions, hidden_size))
        self.norm = nn.LayerNorm(hidden_size)
        self.epa_block = PairedAttention(
            num_positions,
            hidden_size,
            proj_size=proj_size,
            num_heads=num_heads,
            dropout_rate=dropout_rate,
            shared_projection=shared_projection,
        )
        self.conv51 = UnetResBlock(3, hidden_size, hidden_size, kernel_size=3, stride=1, norm_name="batch")
        self.conv52: nn.Module = nn.Identity()
        if num_residual_blocks == 2:
            self.conv52 = UnetResBlock(3, hidden_size, hidden_size, kernel_size=3, stride=1, norm_name="batch")
        self.conv8 = nn.Sequential(nn.Dropout3d(conv_dropout_rate), nn.Conv3d(hidden_size, hidden_size, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """
        Refine a feature map.

        Args:
            features: ``(B, C, D, H, W)``.

        Returns:
            the same shape.
        """
        tokens = features.flatten(2).transpose(1, 2) + self.pos_embed
        tokens = tokens + self.gamma * self.epa_block(self.norm(tokens))
        attended = tokens.transpose(1, 2).reshape(features.shape)
        return attended + self.conv8(self.conv52(self.conv51(attended)))
