# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.metrics import SurfaceDiceMetric

from monai_vafa.attacks import EraseClass, VolumetricFrequencyAttack


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Every file of a run but for the seconds it took."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    files["cases.csv"] = [{**row, "seconds": ""} for row in read(folder / "cases.csv")]
    summary = json.loads(files["summary.json"])
    for means in summary["means"].values():
        means.pop("seconds")
    files["summary.json"] = summary
    return files


def test_result_files(evaluator, tmp_path):
    evaluator().run()
    out = tmp_path / "out"
    metrics, cases = read(out / "metrics.csv"), read(out / "cases.csv")
    assert [(r["case"], r["attack"]) for r in cases] == [
        (f"case{i}", attack) for i in range(3) for attack in ("clean", "quantize_only", "vafa")
    ]
    assert len(metrics) == 3 * 3 * 3
    assert list(metrics[0]) == ["case", "attack", "class", "dsc", "hd95", "nsd", "voxels"]
    damage = "dsc dsc_foreground hd95 hd95_foreground nsd nsd_foreground"
    other = "lpips psnr linf rmse changed_voxel_rate steps seconds unstable_logits inner_gradients"
    columns = f"case attack {damage} {other}"
    assert list(cases[0]) == columns.split()
    clean, attacked = cases[0], cases[2]
    assert (float(clean["linf"]), float(clean["rmse"]), float(clean["changed_voxel_rate"])) == (0, 0, 0)
    assert float(attacked["linf"]) > 1
    assert attacked["lpips"] == ""
    for metric in ("dsc", "hd95", "nsd"):
        values = [float(r[metric] or "nan") for r in metrics[6:9]]
        assert float(attacked[metric]) == pytest.approx(np.nanmean(values), rel=1e-4)
        assert float(attacked[f"{metric}_foreground"]) == pytest.approx(np.nanmean(values[1:]), rel=1e-4)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "complete"
    assert summary["unmeasured"] == ["lpips"]
    assert summary["parameters"]["attacks"]["vafa"]["q_max"] == 20
    assert summary["parameters"]["attacks"]["vafa"]["loss"]["class"] == "DiceCrossEntropyLoss"
    assert "white box" in summary["threat_models"]["vafa"]
    assert "never asks" in summary["threat_models"]["quantize_only"]
    facts = summary["attacks"]["vafa"]
    assert (facts["class"], facts["control"], facts["budget"], facts["value"], facts["base"]) == (
        "VolumetricFrequencyAttack",
        False,
        "q_max",
        20,
        "vafa",
    )
    assert facts["parameters"]["steps"] == 2
    assert summary["attacks"]["quantize_only"]["control"]
    for column in ("dsc", "nsd_foreground"):
        expected = np.mean([float(r[column]) for r in cases[2::3]])
        assert summary["means"]["vafa"][column] == pytest.approx(expected, rel=1e-4)


def test_adversarial_volumes_are_in_the_files_units_and_place(evaluator, datalist, tmp_path):
    evaluator().run()
    original = nib.load(datalist[1]["image"])
    clean, attacked = (nib.load(tmp_path / "out" / "adversarial" / f"case1_{a}.nii.gz") for a in ("clean", "vafa"))
    for volume in (clean, attacked):
        assert np.allclose(volume.affine, original.affine)
        assert volume.get_data_dtype() == np.float32
    assert np.allclose(clean.get_fdata(), original.get_fdata(), atol=1e-2)
    assert np.abs(attacked.get_fdata() - original.get_fdata()).max() > 1
    prediction = nib.load(tmp_path / "out" / "predictions" / "case1_vafa.nii.gz")
    assert prediction.shape == original.shape


def test_second_run_skips_what_is_finished(evaluator, tmp_path):
    evaluator().run()
    before = contents(tmp_path / "out")

    class Never(VolumetricFrequencyAttack):
        def run(self, *args, **kwargs):
            raise AssertionError("ran again")

    again = evaluator()
    again.attacks["vafa"].__class__ = Never
    again.run()
    assert again.state.iteration == 0
    assert again.state.metrics["vafa_dsc"] > 0
    assert not again.failed
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("calls", [1, 4, 8])
def test_finishing_an_interrupted_run_gives_the_files_of_an_unbroken_one(evaluator, tmp_path, calls, monkeypatch):
    evaluator(output_dir=tmp_path / "unbroken").run()
    interrupted = evaluator()
    monkeypatch.setattr(interrupted.attacks["vafa"], "run", _interrupt_after(calls, interrupted.attacks["vafa"].run))
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    host = re.sub(r"\W", "-", socket.gethostname())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "out" / "adversarial" / f".case0_vafa.nii.gz.{host}.{gone.pid}.partial").write_bytes(b"half")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["status"] == "interrupted"
    evaluator().run()
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")


def _interrupt_after(calls, run):
    count = iter(range(calls))

    def wrapped(*args, **kwargs):
        if next(count, None) is None:
            raise KeyboardInterrupt
        return run(*args, **kwargs)

    return wrapped


def test_other_parameters_are_refused_by_name(evaluator):
    evaluator().run()
    with pytest.raises(ValueError, match=r"attacks\.vafa\.steps: 2, now 3"):
        evaluator(attacks={"vafa": {"steps": 3, "rescale_slices": False}})


def test_cases_of_the_same_names_from_other_files_are_refused(evaluator, datalist):
    evaluator().run()
    datalist[2]["image"] = "/elsewhere/case2.nii.gz"
    with pytest.raises(ValueError, match=r"cases\.case2: .*, now /elsewhere/case2\.nii\.gz"):
        evaluator()


def test_more_cases_may_follow(evaluator, datalist):
    evaluator(cases=datalist[:1]).run()
    evaluator().run()


def test_cases_that_were_left_out_for_a_while_are_still_compared(evaluator, datalist):
    def only(*indices):
        return evaluator(cases=[datalist[i] for i in indices])

    only(0, 1).run()
    only(1).run()
    datalist[0]["image"] = "/elsewhere/case0.nii.gz"
    with pytest.raises(ValueError, match=r"cases\.case0: .*, now /elsewhere"):
        only(0)


def test_further_attacks_may_follow_and_others_be_dropped(evaluator, tmp_path):
    vafa = {"steps": 2, "rescale_slices": False}
    evaluator(attacks={"vafa": vafa}).run()
    seconds = [row["seconds"] for row in read(tmp_path / "out" / "cases.csv")]
    evaluator().run()
    cases = read(tmp_path / "out" / "cases.csv")
    assert [row["attack"] for row in cases] == ["clean", "quantize_only", "vafa"] * 3
    assert [row["seconds"] for row in cases if row["attack"] != "quantize_only"] == seconds
    evaluator(attacks=["quantize_only"]).run()
    assert read(tmp_path / "out" / "cases.csv") == cases
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["means"]) == list(summary["threat_models"] | {"clean": ""})[::-1] == ["clean", "quantize_only"]
    with pytest.raises(ValueError, match=r"attacks\.vafa\.steps: 2, now 3"):
        evaluator(attacks={"vafa": {**vafa, "steps": 3}})


def test_only_volumes_asked_for_are_saved(evaluator, tmp_path):
    out = tmp_path / "out"

    def volumes(kind):
        return sorted(path.name.removesuffix(".nii.gz") for path in (out / kind).iterdir() if "case0" in path.name)

    evaluator(saved=["quantize_only"]).run()
    assert volumes("adversarial") == ["case0_clean", "case0_quantize_only"]
    assert volumes("predictions") == ["case0_clean", "case0_label", "case0_quantize_only"]
    cases = contents(out)["cases.csv"]
    assert len(cases) == 9
    evaluator(saved=["quantize_only", "vafa"]).run()
    assert volumes("adversarial") == ["case0_clean", "case0_quantize_only", "case0_vafa"]
    assert contents(out)["cases.csv"] == cases
    with pytest.raises(ValueError, match="saved names 'pgd'"):
        evaluator(saved=["pgd"])


def test_metrics_that_give_no_value_per_class_are_named(evaluator):
    run = evaluator(segmentation_metrics={"nsd": SurfaceDiceMetric([1.0] * 2, reduction="none")})
    run.run()
    with pytest.raises(RuntimeError, match=r"segmentation_metrics\['nsd'\] gives 2 values for 3 classes"):
        run.raise_if_failed()


def test_another_checkpoint_is_refused(evaluator, tmp_path):
    checkpoint = tmp_path / "model.pt"
    checkpoint.write_bytes(b"a")
    evaluator(checkpoint=checkpoint).run()
    checkpoint.write_bytes(b"b")
    with pytest.raises(ValueError, match="checkpoint_sha256"):
        evaluator(checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda item: Path(item["image"]).write_bytes(b"no image"), "case1"),
        (lambda item: item.update(image="/no/such.nii.gz"), r"/no/such\.nii\.gz does not exist"),
        (lambda item: _rewrite(item["image"], lambda v: np.where(v > 240, np.nan, v)), "NaN"),
        (lambda item: _rewrite(item["label"], lambda v: v + 1), "classes 1 to 3"),
        (lambda item: _rewrite(item["label"], lambda v: v[:8]), "label of shape"),
    ],
)
def test_one_bad_case_is_reported_and_the_others_finish(evaluator, datalist, tmp_path, spoil, message):
    spoil(datalist[1])
    run = evaluator()
    run.run()
    with pytest.raises(RuntimeError, match=rf"1 of 3 cases failed.*{message}"):
        run.raise_if_failed()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert list(summary["failed"]) == [list(run.cases)[1]]
    finished = {row["case"] for row in read(tmp_path / "out" / "cases.csv")}
    assert finished == {"case0", "case2"}


def _rewrite(path, change):
    image = nib.load(path)
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), path)


def test_repaired_case_is_done_by_the_next_run(evaluator, datalist, tmp_path):
    path = Path(datalist[0]["image"])
    whole = path.read_bytes()
    path.write_bytes(b"no image")
    evaluator().run()
    path.write_bytes(whole)
    again = evaluator()
    again.run()
    again.raise_if_failed()
    assert [row["case"] for row in read(tmp_path / "out" / "cases.csv")][::3] == ["case0", "case1", "case2"]


def test_targeted_attacks_aim_at_the_target(evaluator, tmp_path):
    seen = []

    class Spy(VolumetricFrequencyAttack):
        def run(self, network, image, label=None, **kwargs):
            seen.append(label)
            return super().run(network, image, label, **kwargs)

    attacks = {"vafa": Spy(block_size=8, steps=1, targeted=True)}
    evaluator(attacks=attacks, aim=EraseClass(2)).run()
    assert all((label < 2).all() for label in seen)
    with pytest.raises(ValueError, match="'vafa' is targeted, so aim"):
        evaluator(attacks=attacks, output_dir=tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": {}}, "attacks is empty"),
        ({"attacks": {"clean": VolumetricFrequencyAttack()}}, "'clean'"),
        ({"attacks": {"label": VolumetricFrequencyAttack()}}, "'label'"),
        ({"attacks": {"VAFA": {"attack": "vafa"}, "vafa": {}}}, "'vafa' is there twice but for letter case"),
        ({"attacks": {"a/b": VolumetricFrequencyAttack()}}, "'a/b'"),
        ({"attacks": {"vafa": VolumetricFrequencyAttack(block_size=32)}}, "block_size=.32, 32, 32. is larger"),
        ({"attacks": {"vafa": {"block_size": [16, 8, 8]}}}, "block_size=.16, 8, 8. is larger"),
        ({"attacks": ["pdg"]}, "'pdg' is not in the roster of attacks: did you mean 'pgd'"),
        ({"cases": []}, "cases is empty"),
    ],
)
def test_what_can_not_work_is_refused_at_once(evaluator, changes, message):
    with pytest.raises(ValueError, match=message):
        evaluator(**changes)


def test_cases_of_one_name_in_two_folders(evaluator):
    cases = [{"image": f"/data/{p}/t1.nii.gz", "label": "l"} for p in ("p1", "p2")]
    assert list(evaluator(cases=cases).cases) == ["p1_t1", "p2_t1"]
    with pytest.raises(ValueError, match="same file and folder name"):
        evaluator(cases=cases[:1] * 2)


def test_classes_in_neither_leave_cells_empty_and_means_whole(evaluator, datalist, tmp_path, network):
    _rewrite(datalist[0]["label"], lambda v: np.where(v == 2, 0, v))
    with torch.no_grad():
        [*network.modules()][-1].bias[2] = -100
    evaluator().run()
    row = next(r for r in read(tmp_path / "out" / "metrics.csv") if r["class"] == "b")
    assert (row["dsc"], row["hd95"], row["nsd"]) == ("", "", "")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert np.isfinite(summary["means"]["clean"]["classes"]["b"]["dsc"])
