# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import monai
import nibabel as nib
import numpy as np
import pytest

from .runs import BUNDLES, dsc, workflow

ATTACK = "vafa_attack/configs/attack.json"
INFERENCE = "unetr_inference/configs/inference.json"
ONE_CASE = ("--cases", "$@target.cases()[:1]")
ROWS = ["clean", "quantize_only", "rescale_only", "pfa", "vafa", "vafa_no_rescale"]


def rows(path):
    with open(path, newline="") as file:
        return {row["attack"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def attacked(bundle_run, tmp_path_factory):
    """One demo case, two steps."""
    out = tmp_path_factory.mktemp("attack") / "out"
    return out, bundle_run(ATTACK, *ONE_CASE, "--output_dir", str(out), "--steps", "2")


def test_demo_breaks_the_model_and_says_how_visibly(attacked):
    out, done = attacked
    cases = rows(out / "cases.csv")
    assert list(cases) == ROWS
    assert float(cases["clean"]["dsc"]) >= 0.90
    assert float(cases["vafa"]["dsc"]) < float(cases["clean"]["dsc"]) - 0.02
    assert float(cases["vafa"]["ssim"]) < 1
    assert float(cases["pfa"]["dsc"]) < float(cases["clean"]["dsc"]) - 0.02
    assert float(cases["pfa"]["ssim"]) >= 0.98
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
    root = str(BUNDLES / "unetr_inference")
    bundle_run(INFERENCE, "--images", images, "--output_dir", str(tmp_path / "again"), "--bundle_root", root)
    label = np.asarray(nib.load(cache / "demo_cohort_v1" / "labelsTr" / "demo_1000.nii.gz").dataobj)
    for attack, row in rows(out / "cases.csv").items():
        prediction = np.asarray(nib.load(tmp_path / "again" / f"demo_1000_{attack}_pred.nii.gz").dataobj)
        assert dsc(prediction, label, range(4)) == pytest.approx(float(row["dsc"]), abs=0.005)


def test_second_run_skips_and_other_parameters_are_refused(attacked, bundle_run):
    out, _ = attacked
    before = (out / "cases.csv").read_bytes()
    again = bundle_run(ATTACK, *ONE_CASE, "--output_dir", str(out), "--steps", "2")
    assert "demo_1000: finished earlier" in again.stdout
    assert (out / "cases.csv").read_bytes() == before
    other = bundle_run(ATTACK, *ONE_CASE, "--output_dir", str(out), "--q_max", "30", "--steps", "2", check=False)
    assert other.returncode != 0
    assert "attacks.vafa.q_max: 20.0, now 30.0" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--q_max", "3"), "q_min=5 and q_max=3"),
        (("--block_size", "[96,96,96]"), "block_size=(96, 96, 96) is larger than the window (80, 96, 80)"),
        (("--dataset_dir", "no_such_folder"), "no_such_folder"),
        (("--cases", "[]"), "cases is empty"),
        (("--qmax", "30"), "no id 'qmax'; did you mean 'q_max'?"),
        (("--attacks", "{'gn': {}}", "--q_max", "30"), "nothing reads 'q_max'"),
        ((*ONE_CASE, "--dataset_dir", "there"), "nothing reads 'dataset_dir'"),
        (("--steps", "many"), "steps='many' must be a number"),
        (("--bundle", "no/such_bundle"), "no/such_bundle"),
        (("--overrides", "{'network_def#feature_size': 16}"), "does not fit UNETR"),
        (("--attacks", "['vfa']"), "did you mean 'vafa'"),
    ],
)
def test_what_can_not_work_fails_at_once_by_name(bundle_run, tmp_path, arguments, message):
    done = bundle_run(ATTACK, "--output_dir", str(tmp_path / "out"), *arguments, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "out" / "cases.csv").exists()


def test_bad_case_makes_the_exit_status_non_zero_and_keeps_the_others(bundle_run, cache, tmp_path):
    folder = cache / "demo_cohort_v1"
    cases = [{key: str(folder / f"{key}sTr" / f"demo_{n}.nii.gz") for key in ("image", "label")} for n in (1000, 1001)]
    cases[0]["image"] = str(tmp_path / "gone.nii.gz")
    done = bundle_run(
        ATTACK,
        "--cases",
        json.dumps(cases),
        "--output_dir",
        str(tmp_path / "out"),
        "--attacks",
        "{'vafa': {'steps': 1}}",
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
    arguments = [*ONE_CASE, "--steps", "3", "--output_dir"]
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


def workflow_in(folder, cache, monkeypatch, **overrides):
    """A short run in this process, from a folder that has nothing to do with the bundle."""
    monkeypatch.setenv("MONAI_VAFA_CACHE", str(cache))
    monkeypatch.chdir(folder)
    short = {"cases": "$@target.cases()[:1]", "visibility_metrics": {}, "attacks": {"gn": {"sigma": 64}}}
    dsc_alone = {"dsc": {"_target_": "DiceMetric", "reduction": "none"}}
    return workflow(
        "vafa_attack",
        "attack.json",
        workflow_type="infer",
        **{**short, "segmentation_metrics": dsc_alone, "output_dir": "out", **overrides},
    )


def test_handlers_and_key_metric_are_those_of_monai(cache, monkeypatch, tmp_path):
    handlers = [{"_target_": "StatsHandler", "iteration_log": False}]
    metric = {"_target_": "MeanDice", "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
    made = workflow_in(tmp_path, cache, monkeypatch, handlers=handlers, key_metric={"dice": metric})
    made.initialize()
    assert made.check_properties() == []
    made.run()
    made.finalize()
    assert isinstance(made.evaluator, monai.engines.Evaluator)
    metrics = made.evaluator.state.metrics
    assert metrics["dice"] == pytest.approx((metrics["clean_dsc"] + metrics["gn_dsc"]) / 2, abs=0.01)
    assert made.evaluator.state.best_metric == metrics["dice"]


@pytest.mark.slow
def test_tracking_with_mlflow(cache, monkeypatch, tmp_path):
    """What `--tracking mlflow` does: MONAI's handler, its default settings, a real store in the output folder."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (pip install mlflow)")
    made = workflow_in(tmp_path, cache, monkeypatch, tracking="mlflow", output_dir=str(tmp_path / "out"))
    made.initialize()
    made.run()
    made.finalize()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/out/mlruns.db")
    [run] = client.search_runs([client.get_experiment_by_name("monai_experiment").experiment_id])
    assert run.info.status == "FINISHED"
    row = rows(tmp_path / "out" / "cases.csv")["gn"]
    assert run.data.metrics["gn_dsc"] == pytest.approx(float(row["dsc"]), rel=1e-5)
    assert {"clean_dsc", "gn_rmse"} <= set(run.data.metrics)


def test_a_copy_of_the_bundle_stands_alone(environment, tmp_path):
    shutil.copytree(BUNDLES / "vafa_attack", tmp_path / "mine")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/attack.json"]
    words = [*ONE_CASE, "--attacks", "['gn']", "--segmentation_metrics#hd95", "None", "--visibility_metrics", "{}"]
    done = subprocess.run(
        [*command, *words], cwd=tmp_path / "mine", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(rows(tmp_path / "mine" / "output" / "vafa_attack" / "cases.csv")) == ["clean", "gn"]
