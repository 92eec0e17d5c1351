# SPDX-License-Identifier: Apache-2.0
"""Damaged weights, bundles, volumes and result folders: read rightly, or refused by a message that names the file."""

from __future__ import annotations

import copy
import csv
import json
import math
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from monai.metrics import DiceMetric

from monai_vafa.evaluation import AttackEvaluator
from monai_vafa.networks import load_checkpoint
from monai_vafa.report import write_benchmark_report, write_report
from monai_vafa.target import open_target
from tests.report import results
from tests.target import zoo

from .contents import content_of
from .judge import generated, refused, right_or_refused
from .strategies import JSON_VALUES, Judged, damages, nifti, nifti_files

# What may go wrong in a case, as its message says; anything else is a fault of ours.
EXPECTED = (
    *("ValueError", "TypeError", "FileNotFoundError", "OSError", "EOFError", "IsADirectoryError", "error"),
    *("ImageFileError", "HeaderDataError", "WrapStructError", "BadGzipFile", "RuntimeError"),
)


@pytest.fixture(scope="module")
def network():
    return Judged()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    """Files of the same weights."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    torch.save(network.state_dict(), folder / "alone.pt")
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, folder / "wrapped.pt")
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


@generated(20, 500, name=st.sampled_from(("alone.pt", "wrapped.pt", "model.safetensors")), damage=damages())
def test_weights(network, weights, tmp_path, name, damage):
    path = tmp_path / name
    if path.is_dir():
        path.rmdir()
    shutil.copy(weights / name, path)
    damage(path)
    fresh = copy.deepcopy(network)
    before = copy.deepcopy(fresh.state_dict())
    loaded = right_or_refused(lambda: load_checkpoint(fresh, path), path, names=(path.name, str(path)))
    if refused(loaded):
        assert all(torch.equal(value, before[key]) for key, value in fresh.state_dict().items())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return zoo.softmax(tmp_path_factory.mktemp("zoo"))


def places(content, path=()):
    """Paths of all values in JSON content."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def put(content, path, value):
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


def damaged(source, folder, name, damage, place, swap):
    """A copy of a folder, with one file damaged."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    path = folder / name
    if swap and path.suffix == ".json":
        content = json.loads(path.read_text())
        paths = list(places(content))
        put(content, paths[int(place[0] * len(paths))], place[1])
        path.write_text(json.dumps(content))
    else:
        damage(path)
    return path


PLACE = st.tuples(st.floats(0, 0.999), st.sampled_from(JSON_VALUES))


@generated(
    15,
    400,
    name=st.sampled_from(("configs/inference.json", "configs/metadata.json", "models/model.pt")),
    damage=damages(),
    place=PLACE,
    swap=st.booleans(),
)
def test_bundles(bundle, tmp_path, name, damage, place, swap):
    folder = tmp_path / "softmax"
    path = damaged(bundle.folder, folder, name, damage, place, swap)
    names = ("softmax", "bundle", path.name)
    target = right_or_refused(lambda: open_target(folder, device="cpu"), folder, names=names, draws=True)
    if not refused(target):
        assert target.class_names


@pytest.fixture(scope="module")
def target(bundle):
    return open_target(bundle.folder, device="cpu")


def evaluator_of(target, folder, case):
    return AttackEvaluator(
        target=target,
        attacks={"gn": {}},
        cases=[case],
        output_dir=folder,
        segmentation_metrics={"dsc": DiceMetric(reduction="none")},
        visibility_metrics={},
    )


def numbers_of(path):
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            yield from (float(cell) for key, cell in row.items() if cell and key not in ("case", "attack", "class"))


# Whether the label is one of the same place with classes, and which of both files is damaged.
FIT = st.sampled_from((True, True, True, False))
WHICH = st.sampled_from((0, 1, None, None, None, None))


@generated(8, 400, image=nifti_files(), label=nifti_files(), fit=FIT, damage=damages(), which=WHICH)
def test_volumes(target, tmp_path, image, label, fit, damage, which):
    shutil.rmtree(tmp_path, ignore_errors=True)
    tmp_path.mkdir()
    paths = tmp_path / "image.nii.gz", tmp_path / "label.nii.gz"
    paths[0].write_bytes(nifti(*image))
    if fit:  # a label of the same place with classes
        classes = np.random.default_rng(0).integers(0, 3, image[0].shape[:3]).astype(np.uint8)
        label = classes, image[1]
    paths[1].write_bytes(nifti(*label))
    if which is not None:
        damage(paths[which])
    item = {"image": str(paths[0]), "label": str(paths[1])}
    evaluator = evaluator_of(target, tmp_path / "out", item)

    def run():
        evaluator.run()
        evaluator.raise_if_failed()

    ended = right_or_refused(run, *paths, names=("image",), network=target.network, also=(RuntimeError,))
    summary = (tmp_path / "out" / "summary.json").read_text()
    json.loads(summary, parse_constant=lambda name: pytest.fail(f"summary.json holds {name}"))
    if refused(ended):
        assert str(ended).partition("image: ")[2].partition(":")[0] in EXPECTED, ended
        return
    for name in ("cases.csv", "metrics.csv"):
        assert all(math.isfinite(value) for value in numbers_of(tmp_path / "out" / name))
    for path in (tmp_path / "out").rglob("*.nii.gz"):
        assert np.isfinite(np.asarray(nib.load(path).dataobj)).all()


@pytest.fixture(scope="module")
def finished(target, tmp_path_factory):
    """A finished run of one case, and the case."""
    folder = tmp_path_factory.mktemp("finished")
    classes = np.random.default_rng(0).integers(0, 3, (6, 7, 8))
    for name, voxels in (("image", classes * 100.0), ("label", classes)):
        nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), folder / f"{name}.nii.gz")
    case = {name: str(folder / f"{name}.nii.gz") for name in ("image", "label")}
    evaluator_of(target, folder / "out", case).run()
    return folder / "out", case


RESULTS = ("summary.json", "cases.csv", "metrics.csv", "manifest.json", "adversarial/image_gn.nii.gz")
RESULTS = (*RESULTS, "predictions/image_gn.nii.gz", "predictions/image_label.nii.gz")


@generated(4, 200, name=st.sampled_from(RESULTS), damage=damages(), place=PLACE, swap=st.booleans())
def test_runs_that_go_on_in_a_damaged_folder(finished, target, tmp_path, name, damage, place, swap):
    source, case = finished
    folder = tmp_path / "out"
    damaged(source, folder, name, damage, place, swap)
    names = (name, str(folder), "output_dir")
    ended = right_or_refused(lambda: evaluator_of(target, folder, case).run(), names=names, network=target.network)
    if not refused(ended):
        for table in ("cases.csv", "metrics.csv"):
            assert content_of(folder / table) == content_of(source / table)


RUN_FILES = ("summary.json", "cases.csv", "metrics.csv", "adversarial/c1_pgd.nii.gz", "predictions/c2_label.nii.gz")
BENCHMARK_FILES = ("benchmark.json", "m/summary.json", "m/cases.csv", "transfer.csv")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "run"
    results.write_model(
        folder, {"clean": results.CLEAN, "pgd": results.attacked(0.5), "vafa": results.attacked([0.3, 0.6])}
    )
    results.write_volumes(folder, "c1", ["clean", "pgd", "vafa"])
    results.write_volumes(folder, "c2", ["clean", "pgd"])
    return folder


@pytest.fixture(scope="module")
def benchmark_folder(tmp_path_factory):
    transfer = [{"case": "c1", "source": "m", "target": "m", "attack": "pgd", "dsc": 0.5}]
    folder = tmp_path_factory.mktemp("results") / "benchmark"
    return results.write_benchmark(folder, {"m": results.ROWS}, results.BASE, transfer, results.BUDGETS)


@generated(6, 200, name=st.sampled_from(RUN_FILES), damage=damages(), place=PLACE, swap=st.booleans())
def test_reports(run_folder, tmp_path, monkeypatch, name, damage, place, swap):
    monkeypatch.setattr("monai_vafa.report.page.can_draw", lambda: False)
    folder = tmp_path / "run"
    path = damaged(run_folder, folder, name, damage, place, swap)
    made = right_or_refused(lambda: write_report(folder), path, names=(path.name, str(folder)))
    if not refused(made):
        assert (folder / "index.html").read_text(encoding="utf-8", errors="surrogateescape").endswith("</html>\n")


@generated(6, 250, name=st.sampled_from(BENCHMARK_FILES), damage=damages(), place=PLACE, swap=st.booleans())
def test_reports_of_benchmarks(benchmark_folder, tmp_path, monkeypatch, name, damage, place, swap):
    monkeypatch.setattr("monai_vafa.report.page.can_draw", lambda: False)
    folder = tmp_path / "benchmark"
    path = damaged(benchmark_folder, folder, name, damage, place, swap)
    made = right_or_refused(lambda: write_benchmark_report(folder), path, names=(path.name, str(folder)))
    if not refused(made):
        assert (folder / "index.html").read_text(encoding="utf-8", errors="surrogateescape").endswith("</html>\n")


@generated(2, 20, name=st.sampled_from(RUN_FILES[3:]), damage=damages())
def test_figures(run_folder, tmp_path, name, damage):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "run"
    path = damaged(run_folder, folder, name, damage, None, False)
    made = right_or_refused(lambda: write_report(folder), path, names=(path.name, str(folder)))
    assert refused(made) or (folder / "index.html").is_file()
