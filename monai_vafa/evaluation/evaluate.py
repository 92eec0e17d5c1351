# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Cases under attacks, as typed results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import ensure_tuple_rep

from monai_vafa.attacks import Attack
from monai_vafa.results.files import same_name
from monai_vafa.results.schema import CLEAN, LABEL
from monai_vafa.target import Target

from .case import AttackScores, Settings, attack_case, named_cases
from .rows import AttackRows, AttackSpec
from .scoring import default_segmentation_metrics, default_visibility_metrics


def evaluate(
    target: Target,
    attacks: AttackRows | Mapping[str, AttackSpec] | Sequence[str],
    cases: Sequence[Mapping[str, Any]] | None = None,
    *,
    segmentation_metrics: Mapping[str, CumulativeIterationMetric] | None = None,
    visibility_metrics: Mapping[str, CumulativeIterationMetric | None] | None = None,
    aim: Callable[[torch.Tensor], torch.Tensor] | None = None,
    keep_volumes: bool = True,
) -> Iterator[AttackScores]:
    """
    Attack cases and score the network's predictions. Nothing is written.

    Args:
        target: model under attack, see :func:`monai_vafa.target.open_target`.
        attacks: attacks to run: names of the roster, or name -> parameters or attack; see :class:`AttackRows`.
        cases: image and label files; ``None`` for the target's own, see :meth:`Target.cases`.
        segmentation_metrics: see :class:`Settings`; ``None`` for DSC, HD95 and NSD.
        visibility_metrics: see :class:`Settings`; ``None`` for LPIPS, SSIM and PSNR.
        aim: label ``(C, *spatial)`` -> the one that targeted attacks aim at, such as ``EraseClass(1)``.
        keep_volumes: whether each result holds its volumes; set it to False to collect the results of many cases.

    Yields:
        the scores of each row of each case, the clean image first.

    Raises:
        ValueError: If there are no cases or attacks, or an attack does not suit the target.

    Example::

        target = open_target("unetr_inference")
        results = evaluate(target, ["pgd", "vafa"], keep_volumes=False)
        dsc = {(result.case, result.attack): result.scores["dsc"] for result in results}
    """
    built = AttackRows.of(attacks).build(target)
    check_attacks(built, target, aim)
    settings = make_settings(target, segmentation_metrics, visibility_metrics, aim)
    items = target.cases() if cases is None else list(cases)
    for name, item in named_cases(items, target.image_key).items():
        for scores, volumes in attack_case(target, item, built, settings, name=name):
            yield replace(scores, volumes=volumes) if keep_volumes else scores


def make_settings(
    target: Target,
    segmentation_metrics: Mapping[str, CumulativeIterationMetric] | None,
    visibility_metrics: Mapping[str, CumulativeIterationMetric | None] | None,
    aim: Callable[[torch.Tensor], torch.Tensor] | None,
) -> Settings:
    """Settings with the default metrics where none are given; see :func:`evaluate`."""
    if segmentation_metrics is None:
        segmentation_metrics = default_segmentation_metrics(target.class_names)
    if visibility_metrics is None:
        visibility_metrics = default_visibility_metrics(target.spatial_dims, device=target.device)
    return Settings(dict(segmentation_metrics), dict(visibility_metrics), aim)


def check_attacks(
    attacks: Mapping[str, Attack], target: Target, aim: Callable[[torch.Tensor], torch.Tensor] | None
) -> None:
    """Refuse attacks that cannot be run."""
    if not attacks:
        raise ValueError("attacks is empty: name at least one.")
    if two := same_name(list(attacks)):
        raise ValueError(
            f"attack name {list(attacks)[two[1]]!r} is there twice but for letter case, which some file systems ignore."
        )
    roi_size = target.windows.roi_size
    window = ensure_tuple_rep(roi_size, target.spatial_dims if isinstance(roi_size, int) else len(roi_size))
    for name, attack in attacks.items():
        if name.casefold() in (CLEAN, LABEL) or not name.translate(dict.fromkeys(map(ord, "-_."))).isalnum():
            raise ValueError(
                f"attack name {name!r} must be made of letters, digits, -, _ and ., and not be {CLEAN!r} or {LABEL!r}."
            )
        if attack.targeted and aim is None:
            raise ValueError(f"attack {name!r} is targeted, so aim must say what it aims at, e.g. EraseClass(1).")
        if attack.targeted and (highest := max(getattr(aim, "classes", [0]))) >= len(target.class_names):
            raise ValueError(
                f"aim={type(aim).__name__} names class {highest}, but the network knows 0 to "
                f"{len(target.class_names) - 1} ({', '.join(target.class_names)})."
            )
        if min(window) > 0:
            attack.check_image((1, 1, *window))
