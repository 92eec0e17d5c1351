# SPDX-License-Identifier: Apache-2.0
"""An evaluation of a network with four sequences in and three overlapping classes out, as for BraTS."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.metrics import DiceMetric, HausdorffDistanceMetric, PSNRMetric, SSIMMetric, SurfaceDiceMetric
from monai.transforms import Compose, ConvertToMultiChannelBasedOnBratsClassesd, LoadImaged, NormalizeIntensityd

from monai_vafa.attacks import EraseClass
from monai_vafa.attacks import VolumetricFrequencyAttack as VAFA
from monai_vafa.evaluation import AttackEvaluator, Benchmark
from monai_vafa.report import write_report

from .conftest import TinyTarget

CLASSES = ["tumour core", "whole tumour", "enhancing tumour"]
SHAPE = (16, 16, 20)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def load(path):
    """Channels of a stored volume, first."""
    return np.moveaxis(np.asarray(nib.load(path).dataobj), -1, 0)


@pytest.fixture
def datalist(tmp_path):
    """Two cases: four sequences in one file, and a class map of a tumour within a tumour within a tumour."""
    rng = np.random.default_rng(0)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    items = []
    for i in range(2):
        label = np.zeros(SHAPE, np.uint8)
        label[2:14, 2:12, 2:18] = 2
        label[5:11, 4:10, 5:14] = 1
        if i == 0:  # the other case has no enhancing tumour
            label[6:9, 5:8, 7:11] = 4
        image = rng.normal(300, 60, (*SHAPE, 4)) + 200 * (label > 0)[..., None] * np.array([1, 0.5, 0, -1])
        files = {"image": tmp_path / f"case{i}.nii.gz", "label": tmp_path / f"label{i}.nii.gz"}
        nib.save(nib.Nifti1Image(image.astype(np.float32), affine), files["image"])
        nib.save(nib.Nifti1Image(label, affine), files["label"])
        items.append({key: str(path) for key, path in files.items()})
    return items


def brats_network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Conv3d(4, 3, 3, padding=1, bias=False)


def preprocessing(*more):
    steps = [
        LoadImaged(["image", "label"], ensure_channel_first=True),
        ConvertToMultiChannelBasedOnBratsClassesd("label"),
        NormalizeIntensityd("image", channel_wise=True),
    ]
    return Compose([*steps, *more])


def brats_target(**changes):
    settings = {
        "network": brats_network(),
        "transform": preprocessing(),
        "class_names": CLASSES,
        "activation": "sigmoid",
        "intensity_range": None,
        "roi_size": (16, 8, 12),
        "window": (16, 8, 12),
        "sw_batch_size": 2,
    }
    return TinyTarget(**{**settings, **changes})


@pytest.fixture
def settings(datalist, tmp_path):
    return {
        "target": brats_target(),
        "cases": datalist,
        "attacks": {
            "quantize_only": {"block_size": 4},
            "vafa": {"block_size": 4, "steps": 2, "rescale_slices": False},
            "pfa": {"steps": 2, "rmse": 8},
        },
        "segmentation_metrics": {
            "dsc": DiceMetric(reduction="none"),
            "hd95": HausdorffDistanceMetric(include_background=True, percentile=95, reduction="none"),
            "nsd": SurfaceDiceMetric([1.0] * 3, include_background=True, reduction="none"),
        },
        "visibility_metrics": {"ssim": SSIMMetric(3), "psnr": PSNRMetric(1.0)},
        "output_dir": tmp_path / "out",
    }


@pytest.fixture
def finished(settings):
    evaluator = AttackEvaluator(**settings)
    evaluator.run()
    evaluator.raise_if_failed()
    return settings["output_dir"]


def test_every_class_is_scored_by_itself(finished, datalist):
    rows = read(finished / "metrics.csv")
    assert [row["class"] for row in rows[:3]] == CLASSES
    assert len(rows) == 2 * 4 * 3
    label = load(finished / "predictions" / "case0_label.nii.gz")
    stored = np.asarray(nib.load(datalist[0]["label"]).dataobj)
    assert np.array_equal(label, np.stack([np.isin(stored, c) for c in ([1, 4], [1, 2, 4], [4])]))
    for row in (row for row in rows if row["case"] == "case0"):
        i = CLASSES.index(row["class"])
        said = load(finished / "predictions" / f"case0_{row['attack']}.nii.gz")[i]
        expected = 2 * (said * label[i]).sum() / (said.sum(dtype=int) + label[i].sum(dtype=int))
        assert float(row["dsc"]) == pytest.approx(expected, abs=1e-5)


def test_means_are_over_all_classes_and_one_that_is_only_predicted_counts(finished):
    cases, metrics = read(finished / "cases.csv"), read(finished / "metrics.csv")
    absent = next(row for row in metrics if row["case"] == "case1" and row["class"] == "enhancing tumour")
    assert (absent["dsc"], absent["nsd"]) == ("0", "0")
    assert float(absent["hd95"]) == pytest.approx(np.linalg.norm(SHAPE), rel=1e-5)
    for case in cases:
        own = [row for row in metrics if (row["case"], row["attack"]) == (case["case"], case["attack"])]
        expected = np.mean([float(row["dsc"]) for row in own if row["dsc"]])
        assert float(case["dsc"]) == pytest.approx(expected, rel=1e-5)
        assert case["dsc_foreground"] == case["dsc"]


def test_volumes_have_a_channel_for_each_class_and_sequence(finished, datalist):
    for kind, name, channels in (("predictions", "vafa", 3), ("predictions", "label", 3), ("adversarial", "vafa", 4)):
        volume = nib.load(finished / kind / f"case0_{name}.nii.gz")
        assert volume.shape == (*SHAPE, channels)
        assert np.allclose(volume.affine, nib.load(datalist[0]["image"]).affine)
    assert set(np.unique(load(finished / "predictions" / "case0_vafa.nii.gz"))) == {0, 1}
    clean, attacked = (load(finished / "adversarial" / f"case0_{a}.nii.gz") for a in ("clean", "vafa"))
    assert (np.abs(attacked - clean).max((1, 2, 3)) > 0).all()
    assert attacked.min() >= clean.min() - 1e-4 and attacked.max() <= clean.max() + 1e-4


def test_changed_voxels_are_those_of_which_any_class_changed(finished):
    row = next(row for row in read(finished / "cases.csv") if row["attack"] == "pfa")
    said, clean = (load(finished / "predictions" / f"case0_{a}.nii.gz") for a in ("pfa", "clean"))
    changed = (said != clean).any(0)
    assert changed.mean() > (said != clean).mean() > 0
    assert float(row["changed_voxel_rate"]) == pytest.approx(changed.mean(), rel=1e-5)


def test_visibility_of_several_sequences(finished):
    """SSIM is the mean over the sequences; PSNR and RMSE pool them, on the range of the whole volume."""
    clean, attacked = (
        torch.tensor(load(finished / "adversarial" / f"case0_{a}.nii.gz"))[None] for a in ("clean", "vafa")
    )
    low, width = clean.min(), clean.max() - clean.min()
    x, y = (attacked - low) / width, (clean - low) / width
    row = next(row for row in read(finished / "cases.csv") if row["attack"] == "vafa")
    each = [float(SSIMMetric(3)(x[:, i : i + 1], y[:, i : i + 1])) for i in range(4)]
    assert float(row["ssim"]) == pytest.approx(np.mean(each), rel=1e-4)
    mean_square = float((x - y).square().mean())
    assert float(row["psnr"]) == pytest.approx(-10 * np.log10(mean_square), rel=1e-4)
    assert float(row["rmse"]) == pytest.approx(255 * mean_square**0.5, rel=1e-4)


def test_summary_and_report(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["activation"] == "sigmoid"
    write_report(finished)
    assert sorted(path.name for path in (finished / "figures").iterdir()) == ["case0.png", "case1.png"]
    assert "none is background" in (finished / "index.html").read_text()


def test_run_with_another_activation_is_not_continued(settings, finished):
    with pytest.raises(ValueError, match="activation: sigmoid, now softmax"):
        AttackEvaluator(**{**settings, "target": brats_target(activation="softmax")})


def test_targeted_attack_aims_at_the_channels(settings):
    seen = []

    class Spy(VAFA):
        def run(self, network, image, label=None, **kwargs):
            seen.append(label)
            return super().run(network, image, label, **kwargs)

    attacks = {"vafa": Spy(block_size=4, steps=1, targeted=True, intensity_range=None)}
    aim = EraseClass(1, activation="sigmoid")
    evaluator = AttackEvaluator(**{**settings, "attacks": attacks, "aim": aim})
    evaluator.run()
    evaluator.raise_if_failed()
    assert all((label[:, 1] == 0).all() for label in seen)
    assert any((label[:, 0] == 1).any() for label in seen)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda item: {**item, "label": item["label"].float() * 2}, "label holds 2, but"),
        (lambda item: {**item, "label": item["label"][:1]}, "label has 1 channel .a class map.., but"),
    ],
)
def test_label_without_a_channel_of_0_and_1_is_named_with_its_case(settings, transform, message):
    evaluator = AttackEvaluator(**{**settings, "target": brats_target(transform=preprocessing(transform))})
    evaluator.run()
    with pytest.raises(RuntimeError, match=rf"2 of 2 cases failed: case0: ValueError: {message}"):
        evaluator.raise_if_failed()


def test_network_with_one_channel(settings, tmp_path):
    class Whole(torch.nn.Module):
        def forward(self, image):
            return image[:, :1]

    whole = preprocessing(lambda item: {**item, "label": item["label"][1:2]})
    one = {"network": Whole(), "class_names": ["tumour"], "transform": whole}
    settings["segmentation_metrics"] = {"dsc": DiceMetric(reduction="none")}
    evaluator = AttackEvaluator(**{**settings, "target": brats_target(**one)})
    evaluator.run()
    evaluator.raise_if_failed()
    dsc = {row["attack"]: float(row["dsc"]) for row in read(tmp_path / "out" / "metrics.csv") if row["case"] == "case0"}
    assert dsc["clean"] > dsc["pfa"] + 0.01
    assert nib.load(tmp_path / "out" / "predictions" / "case0_pfa.nii.gz").shape == SHAPE
    write_report(tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "case0.png").is_file()
    softmax = {"target": brats_target(**one, activation="softmax"), "output_dir": tmp_path / "softmax"}
    evaluator = AttackEvaluator(**{**settings, **softmax, "attacks": ["quantize_only"]})
    evaluator.run()
    with pytest.raises(RuntimeError, match="activation='sigmoid' for a network with one channel"):
        evaluator.raise_if_failed()


def test_benchmark_with_transfer(settings, tmp_path):
    targets = {model: brats_target(network=brats_network(seed)) for seed, model in enumerate("ab")}
    own = {"attacks": {"pfa": {"steps": 1, "rmse": 16}}, "output_dir": tmp_path / "b"}
    own["cases"] = dict.fromkeys(targets, settings["cases"])
    measures = {name: settings[name] for name in ("segmentation_metrics", "visibility_metrics")}
    benchmark = Benchmark(targets=targets, **own, **measures)
    benchmark.run()
    benchmark.raise_if_failed()
    table = read(tmp_path / "b" / "transfer.csv")
    assert len(table) == 4
    volume = torch.tensor(load(tmp_path / "b" / "a" / "adversarial" / "case0_pfa.nii.gz"))
    shown = NormalizeIntensityd("image", channel_wise=True)({"image": volume})["image"]
    with torch.no_grad():
        said = SlidingWindowInferer((16, 8, 12), overlap=0.5)(shown[None], brats_network(1)) > 0
    label = torch.tensor(load(tmp_path / "b" / "a" / "predictions" / "case0_label.nii.gz"))[None]
    expected = DiceMetric(reduction="none")(said.float(), label.float()).mean()
    row = next(row for row in table if (row["case"], row["target"]) == ("case0", "b"))
    assert float(row["dsc"]) == pytest.approx(float(expected), abs=1e-4)
    assert row["dsc_foreground"] == row["dsc"]
