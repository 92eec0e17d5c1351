# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.metrics import compute_dice
from monai.networks import one_hot
from monai.transforms import Compose, LoadImaged, Orientationd, ScaleIntensityRanged, Spacingd

from monai_vafa.evaluation import AttackRows, transfer
from monai_vafa.paper.hardening import hardening_table
from monai_vafa.report.benchmark import Benchmark as ReadBenchmark
from monai_vafa.target.inference import LogitNetwork

from .conftest import HIGH, LOW


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def record(tmp_path):
    return json.loads((tmp_path / "benchmark" / "benchmark.json").read_text())


def test_what_the_record_says(benchmark, tmp_path):
    made = benchmark(
        worst_cases={"worst case": ["vafa"]},
        checklist=True,
        checklist_roles={"frequency": "vafa", "huge_budget": 128},
        published="synapse",
        hardened={"a": ("unetr", "clean"), "b": ("unetr", "vafa")},
        description="noise",
    )
    made.run()
    made.raise_if_failed()
    assert record(tmp_path) == {
        "status": "complete",
        "description": "noise",
        "models": ["a", "b"],
        "rows": {
            "quantize_only": {"attack": "quantize_only", "parameter": None, "value": None},
            "vafa": {"attack": "vafa", "parameter": None, "value": None},
            "vafa-q_max30": {"attack": "vafa", "parameter": "q_max", "value": 30},
        },
        "worst_cases": {"worst case": ["vafa"]},
        "checklist": {"frequency": "vafa", "huge_budget": 128},
        "published": "synapse",
        "hardened": {"a": ["unetr", "clean"], "b": ["unetr", "vafa"]},
    }
    for model in "ab":
        means = json.loads((tmp_path / "benchmark" / model / "summary.json").read_text())["means"]
        assert list(means) == ["clean", "quantize_only", "vafa", "vafa-q_max30"]


def test_without_checklist_roles_are_left_out(benchmark, tmp_path):
    made = benchmark(checklist_roles={"frequency": "vafa"}, transfer=False)
    made.run()
    assert record(tmp_path)["checklist"] is None
    assert not (tmp_path / "benchmark" / "transfer.csv").exists()


def test_attacks_say_their_budget_to_the_report_without_a_sweep(benchmark, tmp_path):
    """Published numbers stand beside attacks at the published budget only."""
    attacks = {"pgd": {"eps": 2, "steps": 1}}
    made = benchmark(attacks=attacks, transfer=False, published="acdc", hardened={"b": ["unetr", "vafa"]})
    made.run()
    made.raise_if_failed()
    header, row = hardening_table(ReadBenchmark(tmp_path / "benchmark")).rows
    assert dict(zip(header, row, strict=True))["published pgd"] == "60.77"


def test_transfer_is_the_saved_file_as_the_other_model_sees_it(benchmark, tmp_path):
    made = benchmark()
    made.run()
    table = read(tmp_path / "benchmark" / "transfer.csv")
    keys = [tuple(row[key] for key in ("case", "source", "target", "attack")) for row in table]
    assert keys == [
        (case, source, target, attack)
        for case in ("case0", "case1")
        for source, target in (("a", "b"), ("b", "a"))
        for attack in ("quantize_only", "vafa")
    ]
    assert list(table[0])[4:] == ["dsc", "dsc_foreground", "hd95", "hd95_foreground", "nsd", "nsd_foreground"]
    voxels = nib.load(tmp_path / "benchmark" / "a" / "adversarial" / "case1_vafa.nii.gz").get_fdata()
    label = torch.tensor(np.asarray(nib.load(tmp_path / "label1.nii.gz").dataobj))[None, None].long()
    image = torch.tensor((voxels - LOW) / (HIGH - LOW)).float()[None, None]
    with torch.no_grad():
        logits = SlidingWindowInferer(8, overlap=0.5)(image, made.evaluators["b"].target.network)
    expected = compute_dice(one_hot(logits.argmax(1, keepdim=True), 3), one_hot(label, 3))[0]
    row = table[keys.index(("case1", "a", "b", "vafa"))]
    assert float(row["dsc"]) == pytest.approx(float(expected.nanmean()), abs=1e-5)
    assert float(row["dsc_foreground"]) == pytest.approx(float(expected[1:].nanmean()), abs=1e-5)


def test_transfer_to_a_model_with_another_grid_and_other_axes(benchmark, datalist, tmp_path):
    """The file of a RAS model at a coarser spacing goes to one that takes the axes as the file has them."""
    blocks = np.zeros((16, 16, 20), np.uint8)
    blocks[2:9, 3:14, 4:16] = 1
    affine = np.diag([-1.5, -1.5, 2.0, 1.0])
    for item in datalist:
        nib.save(nib.Nifti1Image(blocks.astype(np.float32) * 200 - 100, affine), item["image"])
        nib.save(nib.Nifti1Image(blocks, affine), item["label"])
    keys = ["image", "label"]
    coarse = Compose(
        [
            LoadImaged(keys, ensure_channel_first=True),
            Orientationd(keys, axcodes="RAS", labels=None),
            Spacingd(keys, pixdim=(2.0, 2.0, 2.0), mode=("bilinear", "nearest")),
            ScaleIntensityRanged("image", LOW, HIGH, 0.0, 1.0, clip=True),
        ]
    )
    seen = []

    class Bright(torch.nn.Module):
        def forward(self, image):
            seen.append(image)
            bright = image > 0.4
            return torch.cat([~bright, bright, torch.zeros_like(bright)], 1).float()

    changes = {
        "a": {"transform": coarse},
        "b": {"network": Bright(), "inferer": SlidingWindowInferer((16, 16, 20))},
    }
    made = benchmark(of_targets=changes, attacks=["quantize_only"])
    made.run()
    made.raise_if_failed()
    scores = [row for row in read(tmp_path / "benchmark" / "transfer.csv") if row["target"] == "b"]
    assert len(scores) == 2
    assert all(float(row["dsc_foreground"]) > 0.85 for row in scores)
    bright = (seen[-1][0, 0] > 0.4).nonzero()[:, 0].float()
    assert bright.mean() < (seen[-1].shape[2] - 1) / 2


def test_second_run_goes_on_with_the_transfer(benchmark, tmp_path, monkeypatch):
    made = benchmark()
    score = transfer.score_volume
    monkeypatch.setattr(transfer, "score_volume", _stop_after(1, score))
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert record(tmp_path)["status"] == "interrupted"
    assert len(read(tmp_path / "benchmark" / "transfer.csv")) == 1
    count = []
    monkeypatch.setattr(transfer, "score_volume", lambda *a, **k: count.append(a) or score(*a, **k))
    benchmark().run()
    assert len(count) == 7
    finished = read(tmp_path / "benchmark" / "transfer.csv")
    assert len(finished) == 8
    benchmark().run()
    assert read(tmp_path / "benchmark" / "transfer.csv") == finished


def _stop_after(calls, function):
    count = iter(range(calls))

    def wrapped(*args, **kwargs):
        if next(count, None) is None:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return wrapped


def test_models_may_be_run_one_by_one(benchmark, tmp_path):
    benchmark().run()
    expected = read(tmp_path / "benchmark" / "transfer.csv")
    for file in (tmp_path / "benchmark").rglob("*.*"):
        file.unlink()
    for models in (["a"], ["b"]):
        benchmark(models=models).run()
        assert not (tmp_path / "benchmark" / "transfer.csv").exists()
        assert record(tmp_path)["models"] == models
    benchmark().run()
    assert read(tmp_path / "benchmark" / "transfer.csv") == expected


def test_transfers_of_a_model_that_was_exchanged_are_refused(benchmark, tmp_path):
    benchmark().run()
    for file in (tmp_path / "benchmark" / "a").rglob("*.*"):
        file.unlink()
    (tmp_path / "model.pt").write_bytes(b"weights")
    with pytest.raises(
        ValueError, match=r"transfer\.csv holds .* a\.target\.checkpoint_sha256: None, now .* Remove it"
    ):
        benchmark(of_targets={"a": {"checkpoint": tmp_path / "model.pt"}})


def test_further_attacks_join_the_transfer(benchmark, tmp_path):
    benchmark().run()
    before = read(tmp_path / "benchmark" / "transfer.csv")
    attacks = {"quantize_only": {}, "vafa": {"steps": 2, "rescale_slices": False}}
    coarse = {"attack": "quantize_only", "q": 40}
    benchmark(attacks=AttackRows({**attacks, "coarse": coarse}, sweeps={"vafa": {"q_max": [30]}})).run()
    after = read(tmp_path / "benchmark" / "transfer.csv")
    assert [row for row in after if row["attack"] != "coarse"] == before
    assert len(after) == 12


def test_a_model_that_fails_keeps_the_others(benchmark, tmp_path, monkeypatch):
    made = benchmark()

    def fail():
        raise RuntimeError("out of memory")

    monkeypatch.setattr(made.evaluators["a"], "run", fail)
    made.run()
    with pytest.raises(RuntimeError, match="a: RuntimeError: out of memory"):
        made.raise_if_failed()
    assert record(tmp_path)["status"] == "failed"
    assert json.loads((tmp_path / "benchmark" / "b" / "summary.json").read_text())["status"] == "complete"
    assert {row["source"] for row in read(tmp_path / "benchmark" / "transfer.csv")} == {"b"}


def test_failed_cases_and_transfers_are_named(benchmark, datalist, tmp_path):
    cases = {"a": [{**datalist[0], "label": "/no/such.nii.gz"}, datalist[1]], "b": datalist[:2]}
    made = benchmark(cases=cases)
    made.run()
    assert list(made.failed) == ["a, case0", "b to a, case0, quantize_only", "b to a, case0, vafa"]
    assert {row["case"] for row in read(tmp_path / "benchmark" / "transfer.csv")} == {"case1"}
    with pytest.raises(RuntimeError, match=r"3 parts of the benchmark failed: a, case0: FileNotFoundError"):
        made.raise_if_failed()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"transfer": "false"}, TypeError, "transfer='false' must be True or False"),
        ({"checklist": "true"}, TypeError, "checklist='true' must be True or False"),
        ({"worst_cases": {"all": ["pgd"]}}, ValueError, r"worst_cases\['all'\] names 'pgd'"),
        ({"checklist": True, "checklist_roles": {"noise": "gn"}}, ValueError, "checklist_roles names 'gn'"),
        ({"published": "btcv"}, ValueError, "published='btcv'"),
        ({"hardened": {"c": ("unetr", "vafa")}}, ValueError, "hardened names 'c', which is none of the models a, b"),
        ({"hardened": {"a": "vafa"}}, ValueError, r"hardened\['a'\]='vafa' must be a network and"),
        ({"hardened": {"a": None}}, ValueError, r"hardened\['a'\]=None must be a network and"),
        ({"hardened": {"a": ("unetr",)}}, ValueError, r"hardened\['a'\]=.* must be a network and"),
        (
            {"hardened": {"a": ("unetr", "vafa"), "b": ["unetr", "vafa"]}},
            ValueError,
            r"hardened\['b'\] and hardened\['a'\] are both",
        ),
        ({"models": ()}, ValueError, "targets is empty"),
        ({"attacks": []}, ValueError, "attacks is empty"),
    ],
)
def test_what_can_not_work_is_refused_at_once(benchmark, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        benchmark(**changes)
    assert not (tmp_path / "benchmark").exists()


def test_transfer_needs_folders(evaluator):
    with pytest.raises(ValueError, match=r"evaluators\['a'\] has no output_dir"):
        transfer.Transfer({"a": evaluator(output_dir=None)}, ["vafa"], "out")


def test_an_ensemble_is_the_mean_of_its_models_and_is_shown_to_the_others(benchmark, tmp_path):
    made = benchmark(models=("a", "b", "c"), ensembles={"all but c": ["a", "b"]})
    made.run()
    made.raise_if_failed()
    folder = tmp_path / "benchmark"
    assert record(tmp_path)["models"] == ["a", "b", "c", "all but c"]
    targets = {name: evaluator.target for name, evaluator in made.evaluators.items()}
    image = torch.rand(1, 1, 16, 16, 20, generator=torch.Generator().manual_seed(0))
    mean = (targets["a"].logits(image) + targets["b"].logits(image)) / 2
    assert torch.allclose(targets["all but c"].logits(image), mean, atol=1e-6)
    window = image[..., :8, :8, :8]
    with torch.no_grad():
        own = (targets["a"].network(window) + targets["b"].network(window)) / 2
        assert torch.allclose(targets["all but c"].network(window), own, atol=1e-6)
    sent = [row for row in read(folder / "transfer.csv") if row["source"] == "all but c"]
    assert [(row["case"], row["target"], row["attack"]) for row in sent][:6] == [
        ("case0", target, attack) for target in "abc" for attack in ("quantize_only", "vafa")
    ]
    summary = json.loads((folder / "all but c" / "summary.json").read_text())
    assert summary["description"] == "all but c: mean of the logits of a, b."
    assert list(summary["parameters"]["target"]["ensemble"]) == ["a", "b"]
    attacked = [
        nib.load(folder / name / "adversarial" / "case0_vafa.nii.gz").get_fdata() for name in ("a", "all but c")
    ]
    assert not np.array_equal(*attacked)


def test_networks_of_an_ensemble_that_give_probabilities_give_logits(benchmark, network):
    probable = torch.nn.Sequential(network, torch.nn.Softmax(1))
    made = benchmark(
        of_targets={"a": {"network": network}, "b": {"network": LogitNetwork(probable)}}, ensembles=["a", "b"]
    )
    target = made.evaluators["ensemble"].target
    image = torch.rand(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    made.evaluators["b"].target.network = probable  # as before a first prediction; exchanged by it
    before = target.network(image)
    made.evaluators["b"].target.network = LogitNetwork(probable)
    after = target.network(image)
    assert torch.allclose(
        after.softmax(1), (network(image) / 2 + network(image).log_softmax(1) / 2).softmax(1), atol=1e-5
    )
    assert not torch.allclose(before, after)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["background", "b", "a"]}, "class_names of 'b' is .*, that of 'a'"),
        ({"activation": "sigmoid"}, "activation of 'b' is sigmoid, that of 'a' softmax"),
        ({"roi_size": 4}, "roi_size of 'b' is 4, that of 'a' 8"),
        ({"intensity_range": None}, "intensity_range of 'b' is None"),
    ],
)
def test_models_of_an_ensemble_must_agree(benchmark, tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"ensemble 'ensemble': {message}"):
        benchmark(of_targets={"b": changes}, ensembles=["a", "b"])
    assert not (tmp_path / "benchmark").exists()


def test_models_of_an_ensemble_must_see_the_same_image(benchmark):
    keys = ["image", "label"]
    scale = ScaleIntensityRanged("image", LOW, HIGH, 0.0, 1.0, clip=True)
    flipped = Compose([LoadImaged(keys, ensure_channel_first=True), Orientationd(keys, "LPS", labels=None), scale])
    darker = Compose([LoadImaged(keys, ensure_channel_first=True), ScaleIntensityRanged("image", LOW, 300, 0, 1, True)])
    for transform in (flipped, darker):
        made = benchmark(of_targets={"b": {"transform": transform}}, ensembles=["a", "b"], transfer=False)
        evaluator = made.evaluators["ensemble"]
        with pytest.raises(ValueError, match=r"ensemble 'ensemble': its models preprocess .*case0.* differently"):
            evaluator.target.preprocess(evaluator.items["case0"])


@pytest.mark.parametrize("ensembles", [{"a": ["a", "b"]}, {"both": ["a", "d"]}, ["a", "d"]])
def test_ensembles_have_names_of_their_own_and_models_that_exist(benchmark, ensembles):
    with pytest.raises(
        ValueError, match=r"ensembles\['\w+'\]=\['a', '[bd]'\] must have another name, and models, of a, b"
    ):
        benchmark(ensembles=ensembles)
    with pytest.raises(ValueError, match=r"ensemble 'one' of .* must name at least two models"):
        benchmark(ensembles={"one": ["a"]})
