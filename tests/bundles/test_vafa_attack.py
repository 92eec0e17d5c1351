# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from .runs import BUNDLES, dsc

ATTACK = "vafa_attack/configs/attack.json"
INFERENCE = "unetr_inference/configs/inference.json"
ONE_CASE = ("--datalist", "$monai.data.load_decathlon_datalist(@datalist_file, True, @datalist_section)[:1]")


def rows(path):
    with open(path, newline="") as file:
        return {row["attack"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def attacked(bundle_run, tmp_path_factory):
    """One demo case, two steps."""
    out = tmp_path_factory.mktemp("attack") / "out"
    return out, bundle_run(ATTACK, *ONE_CASE, "--output_dir", str(out), "--attack#steps", "2")


def test_demo_breaks_the_model_and_says_how_visibly(attacked):
    out, done = attacked
    cases = rows(out / "cases.csv")
    assert list(cases) == ["clean", "quantize_only", "rescale_only", "vafa"]
    assert float(cases["clean"]["dsc"]) >= 0.90
    assert float(cases["vafa"]["dsc"]) < float(cases["clean"]["dsc"]) - 0.02
    assert float(cases["vafa"]["ssim"]) < 1
    table = done.stdout
    for word in ("vafa", "gray matter", "SSIM", "L-inf", "one anatomy"):
        assert word in table
    assert (out / "figures" / "demo_1000.png").stat().st_size > 10_000
    assert json.loads((out / "summary.json").read_text())["status"] == "complete"


def test_without_lpips_trunk_the_run_goes_on_and_says_once_how_to_get_it(attacked):
    out, done = attacked
    assert (done.stdout + done.stderr).count("python -m monai_vafa fetch_lpips_trunk") == 1
    assert rows(out / "cases.csv")["vafa"]["lpips"] == ""
    assert "Not measured here (the log says why): lpips" in done.stdout


def test_saved_volume_fools_the_bundles_own_inference_as_much(attacked, bundle_run, cache, tmp_path):
    out, _ = attacked
    images = f"$sorted(glob.glob('{out}/adversarial/*.nii.gz'))"
    bundle_run(INFERENCE, "--images", images, "--output_dir", str(tmp_path / "again"))
    label = np.asarray(nib.load(cache / "demo_cohort_v1" / "labelsTr" / "demo_1000.nii.gz").dataobj)
    for attack, row in rows(out / "cases.csv").items():
        prediction = np.asarray(nib.load(tmp_path / "again" / f"demo_1000_{attack}_pred.nii.gz").dataobj)
        assert dsc(prediction, label, range(4)) == pytest.approx(float(row["dsc"]), abs=0.005)


def test_second_run_skips_and_other_parameters_are_refused(attacked, bundle_run):
    out, _ = attacked
    before = (out / "cases.csv").read_bytes()
    again = bundle_run(ATTACK, *ONE_CASE, "--output_dir", str(out), "--attack#steps", "2")
    assert "demo_1000: finished earlier" in again.stdout
    assert (out / "cases.csv").read_bytes() == before
    other = bundle_run(ATTACK, *ONE_CASE, "--output_dir", str(out), "--attack#q_max", "30", check=False)
    assert other.returncode != 0
    assert "attacks.vafa.q_max: 20.0, now 30.0" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attack#q_max", "3"), "q_min=5.0 and q_max=3"),
        (("--attack#block_size", "96"), "block_size=(96, 96, 96) is larger than the window (80, 96, 80)"),
        (("--dataset_dir", "no_such_folder"), "no_such_folder/dataset.json"),
        (("--datalist", "[]"), "dataset is empty"),
        (("--network_def#feature_size", "16"), "does not fit UNETR"),
    ],
)
def test_what_can_not_work_fails_at_once_by_name(bundle_run, tmp_path, arguments, message):
    done = bundle_run(ATTACK, *ONE_CASE, "--output_dir", str(tmp_path / "out"), *arguments, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "out" / "cases.csv").exists()


def test_bad_case_makes_the_exit_status_non_zero_and_keeps_the_others(bundle_run, cache, tmp_path):
    folder = cache / "demo_cohort_v1"
    cases = [{key: str(folder / f"{key}sTr" / f"demo_{n}.nii.gz") for key in ("image", "label")} for n in (1000, 1001)]
    cases[0]["image"] = str(tmp_path / "gone.nii.gz")
    done = bundle_run(
        ATTACK,
        "--datalist",
        json.dumps(cases),
        "--output_dir",
        str(tmp_path / "out"),
        "--attack#steps",
        "1",
        check=False,
    )
    assert done.returncode != 0
    assert "1 of 2 cases failed" in done.stderr
    assert "FAILED gone" in done.stdout
    assert "gone.nii.gz does not exist" in json.loads((tmp_path / "out" / "summary.json").read_text())["failed"]["gone"]
    assert rows(tmp_path / "out" / "cases.csv")["vafa"]["case"] == "demo_1001"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [8, 14])
def test_killed_run_can_be_finished(bundle_run, environment, tmp_path, seconds):
    arguments = [*ONE_CASE, "--attack#steps", "3", "--output_dir"]
    bundle_run(ATTACK, *arguments, str(tmp_path / "unbroken"))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(BUNDLES / ATTACK)]
    killed = subprocess.Popen([*command, *arguments, str(tmp_path / "out")], env=environment, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    bundle_run(ATTACK, *arguments, str(tmp_path / "out"))
    for kind in ("adversarial", "predictions"):
        names = sorted(p.name for p in (tmp_path / "unbroken" / kind).iterdir())
        assert sorted(p.name for p in (tmp_path / "out" / kind).iterdir()) == names
        for name in names:
            assert (tmp_path / "out" / kind / name).read_bytes() == (tmp_path / "unbroken" / kind / name).read_bytes()
    assert (tmp_path / "out" / "metrics.csv").read_bytes() == (tmp_path / "unbroken" / "metrics.csv").read_bytes()
