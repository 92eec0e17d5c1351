# SPDX-License-Identifier: Apache-2.0
"""Attack volumes of any size, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from monai.data.utils import dense_patch_slices
from monai.utils import convert_to_dst_type, ensure_tuple, fall_back_tuple
from tqdm.auto import tqdm

from monai_vafa.frequency.blocks import MOST_VOXELS

from .base import Attack, AttackResult
from .checks import check_count, check_image_values, check_integer, check_label, check_number, plain_tensor
from .draws import Key, volume_keys


class SlidingWindowAttack:
    """
    Run an attack on each window of a volume and put the adversarial windows together.

    The counterpart of :class:`monai.inferers.SlidingWindowInferer`. By default the windows are those of the authors'
    code: side by side, the last one along an axis flush with the border; where windows overlap, the later one
    counts. A volume smaller than the window is padded as by MONAI's inferer, and cropped again. Besides the volume and
    its result, memory holds one batch of windows.

    Args:
        roi_size: window size in voxels, an int or one per axis; non-positive entries take the volume's side.
        sw_batch_size: number of windows attacked at a time.
        overlap: overlap of neighbouring windows, as a share of their side, in [0, 1).
        progress: show a progress bar over the windows.

    Raises:
        ValueError: If ``sw_batch_size`` or ``overlap`` is out of range.
    """

    def __init__(
        self, roi_size: Sequence[int] | int, sw_batch_size: int = 1, overlap: float = 0.0, progress: bool = False
    ) -> None:
        for side in ensure_tuple(roi_size):
            check_integer("roi_size", side)
        if not 0 <= check_number("overlap", overlap) < 1:
            raise ValueError(f"overlap={overlap} must be in [0, 1).")
        self.roi_size = roi_size
        self.sw_batch_size = check_count("sw_batch_size", sw_batch_size)
        self.overlap = overlap
        self.progress = progress

    def __call__(
        self,
        attack: Attack,
        network: torch.nn.Module,
        image: torch.Tensor,
        label: torch.Tensor | None = None,
        *,
        activation: str | None = None,
        ignore_label: int | None = None,
    ) -> torch.Tensor:
        """The adversarial volumes alone; see :meth:`run`."""
        return self.run(attack, network, image, label, activation=activation, ignore_label=ignore_label).adversarial

    def run(
        self,
        attack: Attack,
        network: torch.nn.Module,
        image: torch.Tensor,
        label: torch.Tensor | None = None,
        *,
        activation: str | None = None,
        ignore_label: int | None = None,
        keys: Sequence[Key] | None = None,
    ) -> AttackResult:
        """
        Attack a batch of volumes.

        Args:
            attack: any attack of this package.
            network: see :meth:`Attack.run`.
            image: ``(B, C, *spatial)``, any spatial size.
            label: see :meth:`Attack.run`.
            activation: replaces the attack's own, for callers that know the network.
            ignore_label: likewise, for callers that know the labels.
            keys: one per volume, such as the name of a case; what is random in a window follows from the seed, this
                key and the window's position. ``None``: from the volume's own values.

        Returns:
            adversarial volumes, like ``image`` in shape, type and units; and means over the windows of ``nonfinite``,
            ``zero_gradient`` and ``goal_missed``, for attacks that have them.

        Raises:
            ValueError: If image, label, window and attack do not fit together.
        """
        volume = plain_tensor("image", image)
        check_image_values(volume)
        sides, dims = ensure_tuple(self.roi_size), volume.ndim - 2
        if dims not in (2, 3) or len(sides) not in (1, dims):
            raise ValueError(f"roi_size={self.roi_size} has not one side per axis of image {tuple(volume.shape)}.")
        roi_size = tuple(map(int, fall_back_tuple(sides if len(sides) == dims else sides * dims, volume.shape[2:])))
        if prod(roi_size) > max(8 * volume[0, 0].numel(), MOST_VOXELS):
            raise ValueError(f"roi_size={self.roi_size} is far larger than an image of {tuple(volume.shape)}.")
        attack.check_image((1, volume.shape[1], *roi_size))
        ignore_label = attack.ignore_label if ignore_label is None else ignore_label
        labels = None if label is None else check_label(label, volume, ignore_label)
        missing = [max(r - s, 0) for r, s in zip(roi_size, volume.shape[2:], strict=True)]
        padding = [p for m in reversed(missing) for p in (m // 2, m - m // 2)]
        if labels is not None:
            outside = F.pad(torch.zeros_like(labels[:, 0]), padding, value=1)
            labels = F.pad(labels, padding)
            if labels.shape[1] > 1 and (activation or attack.activation) == "softmax":
                labels[:, 0] += outside  # one-hot background
        keys = volume_keys(volume.float()) if keys is None else keys
        interval = [max(int(r * (1 - self.overlap)), 1) for r in roi_size]
        everything = (slice(None), slice(None))
        grid = [m + s for m, s in zip(missing, volume.shape[2:], strict=True)]
        windows = [everything + window for window in dense_patch_slices(grid, roi_size, interval)]
        inside = everything + tuple(slice(m // 2, m // 2 + s) for m, s in zip(missing, volume.shape[2:], strict=True))
        adversarial = torch.empty_like(volume, dtype=torch.float32)
        lost = torch.zeros(3, len(volume), dtype=torch.double)
        for i in range(len(volume)):
            one, its_label = volume[i : i + 1].float(), None if labels is None else labels[i : i + 1]
            # Windows of one volume share its range, not each its own.
            low, high = attack.intensity_range or (float(one.min()), float(one.max()))
            padded = F.pad(one, padding, value=min(max(0.0, low), high))
            attacked = padded.clone()
            with tqdm(total=len(windows), desc=f"{type(attack).__name__} windows", disable=not self.progress) as bar:
                for start in range(0, len(windows), self.sw_batch_size):
                    batch = windows[start : start + self.sw_batch_size]
                    result = attack.run(
                        network,
                        torch.cat([padded[w] for w in batch]),
                        None if its_label is None else torch.cat([its_label[w] for w in batch]),
                        activation=activation,
                        ignore_label=ignore_label,
                        # A constant volume has a width of 1, or of what its floats can still tell apart.
                        intensity_range=(low, high if high > low else low + max(1.0, 1e-6 * abs(low))),
                        # A volume of one window is attacked as it would be without windows.
                        keys=[(*keys[i], *(axis.start for axis in w[2:] if len(windows) > 1)) for w in batch],
                    )
                    for window, part in zip(batch, result.adversarial, strict=True):
                        attacked[window] = part
                    found = (result.nonfinite, result.zero_gradient, result.goal_missed)
                    for means, shares in zip(lost, found, strict=True):
                        means[i] += 0.0 if shares is None else float(shares.sum()) / len(windows)
                    bar.update(len(batch))
            adversarial[i] = attacked[inside][0]
        nonfinite, zero_gradient, goal_missed = lost.float()
        adversarial = convert_to_dst_type(adversarial, image, dtype=torch.float32)[0]
        return AttackResult(adversarial, nonfinite=nonfinite, zero_gradient=zero_gradient, goal_missed=goal_missed)
