# SPDX-License-Identifier: Apache-2.0
"""Cases under attacks. The unit of work is one case; it depends on its arguments alone and writes nothing."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.metrics import CumulativeIterationMetric
from monai.utils import ImageMetaKey, convert_to_tensor, ensure_tuple

from monai_vafa.attacks import Attack
from monai_vafa.attacks.checks import check_image_values
from monai_vafa.metrics import changed_voxel_rate
from monai_vafa.outputs import predicted_labels
from monai_vafa.results.files import same_name, unicode_text
from monai_vafa.results.schema import CLEAN
from monai_vafa.target import Target

from .forward import ask, second_pass
from .rows import Aim, AttackRows, Attacks, check_attacks
from .scoring import (
    check_classes,
    class_means,
    default_segmentation_metrics,
    default_visibility_metrics,
    one_hot_pair,
    segmentation_scores,
    visibility_scores,
    void_voxels,
)

logger = logging.getLogger("monai_vafa.evaluation")

# Names may have dots in them.
_ENDING = re.compile(r"\.(nii(\.gz)?|(seg\.)?nrrd|nhdr|mh[ad]|mgz|img|hdr|np[yz]|png|jpe?g|bmp|tiff?)$", re.IGNORECASE)
# Voxels by which grids may differ and still be taken for the same.
_APART = 0.1
# Labels that are no further from a class than this are taken for it.
_ROUNDING = 1e-3


# column -> metric; None where it can't be measured
Metrics: TypeAlias = Mapping[str, CumulativeIterationMetric]
Judges: TypeAlias = Mapping[str, CumulativeIterationMetric | None]


@dataclass(frozen=True)
class Settings:
    """How attacks on a case are measured."""

    segmentation_metrics: Metrics  # of one-hot (y_pred, y), a value per class (reduction="none")
    visibility_metrics: Judges  # of (y_pred, y), adversarial and clean image in [0, 1], one value
    aim: Aim | None = None  # label (C, *spatial) -> the one that targeted attacks aim at


@dataclass(frozen=True)
class AttackScores:
    """What one attack did to one case."""

    case: str
    attack: str  # "clean" for the image as it is
    scores: dict[str, float]  # METRIC and METRIC_foreground, means over the classes; NaN where undefined
    # class -> metric -> value, NaN for a class in neither label nor prediction, infinite where undefined; and "voxels"
    # of the class in the label
    per_class: dict[str, dict[str, float]]
    visibility: dict[str, float | None]  # metric; linf and rmse in levels (0-255 scale); None where not measured
    changed_voxel_rate: float  # share of labelled voxels whose prediction differs from that for the clean image
    steps: int  # 0 for attacks without steps
    seconds: float
    # nonfinite_gradient, a share of the voxels, zero_gradient, of the steps, and goal_missed, of the windows, each only
    # where above 0; for the clean image what second_pass found
    lost: dict[str, float] = field(default_factory=dict)
    volumes: Volumes | None = field(default=None, repr=False)  # None where they are not kept

    @property
    def case_row(self) -> dict[str, Any]:
        """Row of ``cases.csv``."""
        cost = {"changed_voxel_rate": self.changed_voxel_rate, "steps": self.steps, "seconds": self.seconds}
        return {"case": self.case, "attack": self.attack, **self.scores, **self.visibility, **cost, **self.lost}

    @property
    def metric_rows(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.csv``."""
        keys = {"case": self.case, "attack": self.attack}
        return [{**keys, "class": name, **values} for name, values in self.per_class.items()]


@dataclass(frozen=True)
class Volumes:
    """Volumes that scores were computed from, without a batch axis."""

    image: torch.Tensor  # the clean image, (C, *spatial)
    adversarial: torch.Tensor  # the attacked image, same shape
    label: torch.Tensor  # softmax: class map (1, *spatial); sigmoid: 0 and 1, (classes, *spatial)
    prediction: torch.Tensor  # the network's for the attacked image, like label
    affine: np.ndarray  # 4 x 4, voxel to world (RAS)


def attack_case(
    target: Target,
    item: Mapping[str, Any],
    attacks: Mapping[str, Attack],
    settings: Settings,
    *,
    name: str,
    rows: Collection[str] | None = None,
) -> Iterator[tuple[AttackScores, Volumes]]:
    """
    Attack a case, and yield scores and volumes of each row, the clean one first.

    ``item`` is as :meth:`Target.cases` gives it; ``rows`` are the names to run, :data:`CLEAN` for the image as it is
    among them, ``None`` for all.
    """
    image, label, affine = as_case(target, target.preprocess(item))
    logits = ask(target, image)
    clean, counted = predicted_labels(logits, target.activation), ~void_voxels(target, label)[0, 0]
    logits = logits.cpu()  # two answers may be more than the device holds
    found = second_pass(target, image, logits) if rows is None or CLEAN in rows else {}
    del logits
    for row in (row for row in (CLEAN, *attacks) if rows is None or row in rows):
        logger.info("%s: %s", name, row)
        adversarial, prediction, steps, seconds, lost = image, clean, 0, 0.0, found
        if row != CLEAN:
            attack, aim = attacks[row], label
            if attack.targeted and settings.aim is not None:
                aim = settings.aim(label[0].clone())[None]
            start = time.perf_counter()
            result = target.windows.run(
                attack,
                target.network,
                image,
                aim,
                activation=target.activation,
                ignore_label=target.ignore_label,
                keys=[(name,)],
            )
            adversarial, seconds = result.adversarial, time.perf_counter() - start
            shares = {
                "nonfinite_gradient": result.nonfinite,
                "zero_gradient": result.zero_gradient,
                "goal_missed": result.goal_missed,
            }
            lost = {column: float(share) for column, share in shares.items() if share is not None and share > 0}
            prediction, steps = predict(target, adversarial), getattr(attack, "steps", 0)
        pair = one_hot_pair(target, prediction, label)
        values = segmentation_scores(settings.segmentation_metrics, *pair)
        voxels = pair[1].flatten(2).sum(2).flatten().int().tolist()
        scores = AttackScores(
            case=name,
            attack=row,
            scores=class_means(values, target.activation),
            per_class={
                c: {**{key: values[key][i] for key in values}, "voxels": voxels[i]}
                for i, c in enumerate(target.class_names)
            },
            visibility=visibility_scores(settings.visibility_metrics, adversarial, image, target.intensity_range),
            changed_voxel_rate=float(changed_voxel_rate(prediction[..., counted], clean[..., counted])),
            steps=steps,
            seconds=seconds,
            lost=lost,
        )
        yield scores, Volumes(image[0], adversarial[0], label[0], prediction[0], affine)


def evaluate(
    target: Target,
    attacks: Attacks,
    cases: Sequence[Mapping[str, Any]] | None = None,
    *,
    segmentation_metrics: Metrics | None = None,
    visibility_metrics: Judges | None = None,
    aim: Aim | None = None,
    keep_volumes: bool = True,
) -> Iterator[AttackScores]:
    """
    Attack cases and score the network's predictions. Nothing is written.

    Args:
        target: model under attack, see :func:`monai_vafa.target.open_target`.
        attacks: attacks to run: names of the roster, or name -> parameters or attack; see :class:`AttackRows`.
        cases: image and label files; ``None`` for the target's own, see :meth:`Target.cases`.
        segmentation_metrics: see :class:`Settings`; ``None`` for DSC, HD95 and NSD.
        visibility_metrics: see :class:`Settings`; ``None`` for LPIPS, SSIM, HaarPSI, GMSD and PSNR.
        aim: see :class:`Settings`, such as ``EraseClass(1)``.
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
    target: Target, segmentation_metrics: Metrics | None, visibility_metrics: Judges | None, aim: Aim | None
) -> Settings:
    """Settings with the default metrics where none are given; see :func:`evaluate`."""
    if segmentation_metrics is None:
        segmentation_metrics = default_segmentation_metrics(target.class_names)
    if visibility_metrics is None:
        visibility_metrics = default_visibility_metrics(target.spatial_dims, device=target.device)
    return Settings(dict(segmentation_metrics), dict(visibility_metrics), aim)


def as_case(target: Target, loaded: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Image, label (if there is none, the network's prediction) and affine of a case, checked, as a batch of one."""
    image, label = loaded[target.image_key], loaded.get(target.label_key)
    check_image_values(image)
    batch = convert_to_tensor(image, track_meta=False)[None].to(target.device)
    affine = to_affine_nd(3, image.affine.cpu().numpy())
    if label is None:
        return batch, predict(target, batch), affine
    try:
        _check_grid(image, label)
        plain = _whole_numbers(convert_to_tensor(label, track_meta=False))[None].to(target.device)
        check_classes(target, plain)
    except ValueError as error:
        name = label.meta.get(ImageMetaKey.FILENAME_OR_OBJ) if isinstance(label, MetaTensor) else None
        raise ValueError(f"{error} (label file: {name or 'unknown'})") from None
    return batch, plain, affine


def predict(target: Target, image: torch.Tensor) -> torch.Tensor:
    """The network's prediction for a volume."""
    return predicted_labels(ask(target, image), target.activation)


def named_cases(items: Sequence[Mapping[str, Any]], image_key: str) -> dict[str, Mapping[str, Any]]:
    """Cases by their file names without ending; where two are the same, with the name of the folder before."""
    if not items:
        raise ValueError("cases is empty: name at least one.")
    paths = [Path(image_file(item, image_key)) for item in items]
    names = [_ENDING.sub("", unicode_text(path.name)) for path in paths]
    if same_name(names):
        names = [f"{unicode_text(path.parent.name)}_{name}" for path, name in zip(paths, names, strict=True)]
    if two := same_name(names):
        raise ValueError(
            f"cases has two of the same file and folder name ({names[two[1]]!r}; letter case does not count): results "
            "would overwrite each other. Rename a file."
        )
    return dict(zip(names, items, strict=True))


def image_file(item: Mapping[str, Any], image_key: str) -> str:
    """Path of a case's image, of the first one if each channel has a file."""
    return os.fspath(ensure_tuple(item[image_key])[0])


def _check_grid(image: MetaTensor, label: torch.Tensor) -> None:
    """Refuse a label whose voxels lie elsewhere than those of the image."""
    if label.shape[1:] != image.shape[1:]:
        raise ValueError(f"label of shape {tuple(label.shape)} does not fit an image of {tuple(image.shape)}.")
    places = [to_affine_nd(3, v.affine.cpu().numpy()) for v in (image, label) if isinstance(v, MetaTensor)]
    if len(places) < 2 or not all(np.isfinite(a).all() and abs(np.linalg.det(a)) > 0 for a in places):
        logger.warning("image or label has no affine: they are taken to lie on the same grid.")
        return
    sides = [*image.shape[1:], 1, 1][:3]
    corners = np.stack([*np.meshgrid(*([0, side - 1] for side in sides), indexing="ij"), np.ones((2, 2, 2))])
    apart = np.linalg.solve(places[0], places[1] @ corners.reshape(4, -1)) - corners.reshape(4, -1)
    if (furthest := float(np.abs(apart).max())) > _APART:
        affines = [np.array2string(a.round(4), separator=", ").replace("\n", "") for a in places]
        raise ValueError(
            f"label lies on another grid than the image, up to {furthest:.3g} voxels off: the affine of the image is "
            f"{affines[0]}, that of the label {affines[1]} (after preprocessing). Resample the label to the image, "
            "e.g. with monai.transforms.ResampleToMatch(mode='nearest'), or correct the header that is wrong."
        )


def _whole_numbers(label: torch.Tensor) -> torch.Tensor:
    """Labels as integers; what resampling and scaling of the file left beside them is rounded away."""
    if not label.is_floating_point():
        return label.long()
    rounded = label.round()
    if bad := label[~((label - rounded).abs() <= _ROUNDING)].unique()[:3].tolist():
        raise ValueError(
            f"label holds {', '.join(f'{value:.6g}' for value in bad)}, further than {_ROUNDING} from a class; "
            "resample label maps with mode='nearest'."
        )
    return rounded.long()
