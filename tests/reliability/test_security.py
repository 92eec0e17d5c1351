# SPDX-License-Identifier: Apache-2.0
"""What SECURITY.md promises: files run no code, names stay names, and nothing is written outside of its folder."""

from __future__ import annotations

import ast
import contextlib
import csv
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import stat
import tarfile
import zipfile
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import monai.bundle.scripts
import nibabel as nib
import numpy as np
import pytest
import torch

import monai_vafa
from monai_vafa.data import demo_cohort, folder_cases
from monai_vafa.evaluation import AttackRows, Benchmark
from monai_vafa.handlers import TrainingCheckpoint
from monai_vafa.hardening import open_training
from monai_vafa.metrics import LPIPSMetric, trunk
from monai_vafa.networks import convert_checkpoint, load_checkpoint
from monai_vafa.report import write_benchmark_report, write_report
from monai_vafa.results.files import read_rows, write_rows
from monai_vafa.target import find_bundle, open_target
from tests.evaluation.conftest import benchmark, datalist, evaluator, metrics, rows, target  # noqa: F401
from tests.target import zoo

PACKAGE = Path(monai_vafa.__file__).parent
QUICK = {"quantize_only": {}}
FORMULAS = ("=cmd|' -C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "'=1", "''")
MARKUP = ("<script>alert(1)<", '"><img src=x onerror=alert(1)>', "a&amp;b", "javascript:alert(1)")
ODD = (*FORMULAS, *MARKUP, "two\nlines", "semi;=1", "caf\u00e9")
OUTSIDE = ("../up", "../../../up", "a/b", "/elsewhere", "..", ".", "", "nul\0byte")


# Code of the package


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}, node


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_package_runs_no_text_and_unpickles_nothing(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for name, keywords, node in calls(tree):
        place = f"{file}:{node.lineno}: {name}"
        assert name not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"), place
        assert not re.match(r"os\.(exec|spawn)", name) and not name.endswith((".extractall", ".extract")), place
        if name.startswith("subprocess."):
            assert keywords.get("shell", "False") == "False" and not isinstance(node.args[0], ast.Constant), place
        if name.endswith("torch.load"):
            assert keywords.get("weights_only") == "True", place
        if name.endswith(("np.load", "numpy.load")):
            assert keywords.get("allow_pickle", "False") == "False", place
        assert not name.endswith(("jit.load", "hub.load", "export.load")), place
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {"dill", "cloudpickle", "joblib", "marshal", "shelve", "_pickle"} & set(modules), file
            assert "pickle" not in modules or file == PACKAGE / "metrics" / "trunk.py", file
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle":
            assert node.attr in ("Unpickler", "UnpicklingError"), f"{file}:{node.lineno}"


def test_the_configs_unpickle_nothing():
    for file in (PACKAGE.parent / "bundles").rglob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"pickle|torch\.load|os\.system|subprocess|\beval\(|\bexec\(|PersistentDataset", text), (
            file
        )


# Crafted pickles


class Crafted:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def pickled(value, path):
    path.write_bytes(pickle.dumps(value, protocol=2))


FORMS = {
    "pickle": pickled,
    "torch": torch.save,
    "legacy torch": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    "beside weights": lambda value, path: torch.save({"model": {"weight": torch.ones(1)}, "more": value}, path),
    "as a key": lambda value, path: torch.save({"state_dict": {"weight": value}}, path),
}


@pytest.fixture
def marker(tmp_path):
    """The folder that a crafted file would make."""
    return tmp_path / "marker"


@pytest.fixture
def tiny(tmp_path):
    return zoo.softmax(tmp_path / "zoo")


@pytest.mark.parametrize("form", FORMS)
def test_the_crafted_files_would_run(form, tmp_path, marker):
    """Where they are unpickled."""
    FORMS[form](Crafted(marker), tmp_path / "file")
    if form == "pickle":
        pickle.loads((tmp_path / "file").read_bytes())
    else:
        torch.load(tmp_path / "file", weights_only=False)
    assert marker.is_dir()


def checkpoint_into_a_network(path, tiny):
    load_checkpoint(torch.nn.Linear(1, 1, bias=False), path)


def checkpoint_of_a_target(path, tiny):
    open_target(tiny.folder, checkpoint=path)


def checkpoint_in_a_bundle(path, tiny):
    shutil.copy(path, tiny.folder / "models" / "model.pt")
    open_target(tiny.folder)


def checkpoint_to_convert(path, tiny):
    convert_checkpoint(path, path.with_name("converted.pt"), "unetrpp_acdc")


def checkpoint_of_a_training(path, tiny):
    out = path.with_name("out")
    open_training(tiny.folder, ckpt_dir=out, output_dir=out, checkpoint=path, dataset_dir=tiny.data)


def training_to_resume(path, tiny):
    out = path.with_name("out")
    out.mkdir()
    shutil.copy(path, out / "last.pt")
    training = open_training(tiny.folder, ckpt_dir=out, output_dir=out, dataset_dir=tiny.data)
    TrainingCheckpoint(ckpt_dir=out, evaluator=training.evaluator, resume=True).attach(training.trainer)
    training.trainer.run()


def trunk_of_lpips(path, tiny):
    LPIPSMetric(trunk=path)


def cached_trunk_of_lpips(path, tiny):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_VAFA_CACHE", str(path.with_name("cache")))
        path.with_name("cache").mkdir()
        shutil.copy(path, path.with_name("cache") / "alexnet.pth")
        LPIPSMetric()


def archive_with_the_trunk(path, tiny):
    """As if the pinned hash were that of the crafted file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trunk, "_MEMBER_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
        with tarfile.open(path.with_name("a.tar.gz"), "w:gz") as tar:
            tar.add(path, trunk._MEMBER)
        trunk._read_state(path.with_name("a.tar.gz"))


DOORS = (
    checkpoint_into_a_network,
    checkpoint_of_a_target,
    checkpoint_in_a_bundle,
    checkpoint_to_convert,
    checkpoint_of_a_training,
    training_to_resume,
    trunk_of_lpips,
    cached_trunk_of_lpips,
    archive_with_the_trunk,
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_crafted_weights_do_not_run(door, form, tmp_path, marker, tiny):
    path = tmp_path / "crafted.pt"
    FORMS[form](Crafted(marker), path)
    with pytest.raises((ValueError, TypeError, pickle.UnpicklingError)):
        door(path, tiny)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".nii.gz", ".nii", ".mgz", ".png", ".nrrd", ".pt"])
@pytest.mark.parametrize("place", ["imagesTr", "labelsTr"])
def test_crafted_data_do_not_run(place, suffix, marker, tiny):
    good, other = tiny.data / place / "case0.nii.gz", {"imagesTr": "labelsTr", "labelsTr": "imagesTr"}[place]
    path = good.with_name(f"case0{suffix}")
    good.unlink()
    crafted = np.array([Crafted(marker)], dtype=object)
    if suffix == ".npz":
        np.savez(path, crafted)
    elif suffix == ".npy":
        np.save(path, crafted, allow_pickle=True)
    else:
        pickled(Crafted(marker), path)
    opened = open_target(tiny.folder)
    item = {place.removesuffix("sTr"): str(path), other.removesuffix("sTr"): str(tiny.data / other / "case0.nii.gz")}
    with pytest.raises(Exception):  # noqa: B017  # readers raise what they like
        opened.preprocess(item)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["dataset.json", "imagesTr/demo_1000.nii.gz"])
def test_crafted_demo_data_do_not_run(name, tmp_path, marker, tiny):
    root = tmp_path / "demo"
    for folder in ("imagesTr", "labelsTr"):
        shutil.copytree(tiny.data / folder, root / folder)
    names = {"image": "./imagesTr/demo_1000.nii.gz", "label": "./labelsTr/case0.nii.gz"}
    (root / "dataset.json").write_text(json.dumps({"validation": [names]}))
    pickled(Crafted(marker), root / name)
    with pytest.raises(Exception):  # noqa: B017
        open_target(tiny.folder).preprocess(folder_cases(demo_cohort(root))[0])
    assert not marker.exists()


def test_crafted_result_files_do_not_run(evaluator, tmp_path, marker):  # noqa: F811
    out = tmp_path / "out"
    evaluator(attacks=QUICK).run()
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    for path in {(path.parent, path.suffix, path.stem if path.parent == out else ""): path for path in files}.values():
        good = path.read_bytes()
        pickled(Crafted(marker), path)
        for read in (lambda: write_report(out), lambda: evaluator(attacks=QUICK).run()):
            with contextlib.suppress(ValueError, OSError, nib.filebasedimages.ImageFileError):
                read()
        path.write_bytes(good)
    assert not marker.exists()


@pytest.mark.parametrize("opener", [open_target, partial(open_training, ckpt_dir="out", output_dir="out")])
def test_a_device_is_no_code(opener, tmp_path, marker, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, RuntimeError)):
        opener(tiny.folder, device=f"cpu') if __import__('os').mkdir({str(marker)!r}) else ('cpu")
    assert not marker.exists()


# Names


def everything(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


class Page(HTMLParser):
    """Refuses all of a page that could run."""

    def __init__(self, root):
        super().__init__()
        self.root, self.text, self.images = root, [], []

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "iframe", "object", "embed", "base", "form", "svg"), tag
        for name, value in attributes:
            assert not name.startswith("on") and name not in ("srcdoc", "action", "ping"), (tag, name)
            if name in ("src", "href"):
                assert re.match(r"[\w%.~-]+(/|$)", value) and ":" not in value.partition("/")[0], value
                self.images.append(self.root / unquote(value))

    def handle_data(self, data):
        self.text.append(data)


def harmless(page):
    """The text of a page, and the files that it shows."""
    found = Page(page.parent)
    found.feed(page.read_text(encoding="utf-8"))
    found.close()
    return "".join(found.text), found.images


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def no_formulas(path):
    with open(path, newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert cells
    for cell in cells:
        assert not re.match(r"[=+\-@\t\r]", cell) or is_number(cell), (path, cell)


def named(datalist, names):  # noqa: F811
    """Cases of these names."""
    made = []
    for name in names:
        image = Path(datalist[0]["image"])
        path = image.with_name(f"{name}.nii.gz")
        shutil.copy(image, path)
        made.append({**datalist[0], "image": str(path)})
    return made


@pytest.mark.parametrize("name", [*OUTSIDE, *FORMULAS, *MARKUP, "two\nlines"])
def test_attacks_have_plain_names(name, evaluator, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        evaluator(attacks={name: {"attack": "gn"}})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", OUTSIDE)
def test_models_whose_names_lead_elsewhere_are_refused(name, target, datalist, tmp_path):  # noqa: F811
    before = everything(tmp_path)
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        Benchmark(targets={name: target()}, attacks=QUICK, cases={name: datalist}, output_dir=tmp_path / "a" / "b")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", [name for name in ODD if name != "''"])
def test_odd_names_of_cases_and_classes_stay_names(name, evaluator, datalist, tmp_path):  # noqa: F811
    """One name for both, in paths, tables and the page; a second run finds what the first one did."""
    out, classes = tmp_path / "out", ["background", name, "b"]

    def make():
        return evaluator(
            attacks={"-q": {"attack": "quantize_only"}},
            cases=named(datalist, [name]),
            class_names=classes,
            description=name,
        )

    make().run()
    again = make()
    again.run()
    assert again.state.iteration == 0
    write_report(out)
    assert sorted(path.name for path in (out / "adversarial").iterdir()) == sorted(
        [f"{name}_clean.nii.gz", f"{name}_-q.nii.gz"]
    )
    assert {row["case"] for row in read_rows(out / "cases.csv")} == {name}
    assert {row["class"] for row in read_rows(out / "metrics.csv")} == set(classes)
    for path in out.glob("*.csv"):
        no_formulas(path)
    text, images = harmless(out / "index.html")
    assert name.strip() in text
    assert out / "figures" / f"{name}.png" in images and all(path.is_file() for path in images)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"out"}


def test_odd_names_of_models_and_groups_stay_names(benchmark, datalist, tmp_path):  # noqa: F811
    """In a benchmark, its transfer and its report."""
    cases = named(datalist, ["=1+1"])
    made = benchmark(models=("a", "b"))
    targets = dict(zip(("=cmd|' -C calc'!A0", "<img src=x onerror=alert(1)>"), made.evaluators.values(), strict=True))
    whole = Benchmark(
        targets={name: each.target for name, each in targets.items()},
        attacks=AttackRows({"-q": {"attack": "quantize_only"}}, sweeps={"-q": {"q": [30]}}),
        cases=dict.fromkeys(targets, cases),
        output_dir=tmp_path / "whole",
        worst_cases={"+worst": ["-q"]},
        checklist=True,
        checklist_roles={"quantize": "-q"},
        visibility_metrics={},
    )
    whole.run()
    whole.raise_if_failed()
    write_benchmark_report(tmp_path / "whole")
    tables = list((tmp_path / "whole").rglob("*.csv"))
    assert {path.name for path in tables} >= {"cases.csv", "transfer.csv", "table.csv", "worst_case.csv"}
    for path in tables:
        no_formulas(path)
    text, images = harmless(tmp_path / "whole" / "index.html")
    assert images and all(path.is_file() for path in images)
    assert "<img src=x" in text and "+worst" in text


@pytest.mark.parametrize("text", [*ODD, *("'" * n + "-a" for n in range(4)), "-", "=", "", "-5", "1e-3", "-inf"])
def test_any_text_comes_back_from_a_table(text, tmp_path):
    write_rows(tmp_path / "a.csv", ("name", "value"), [{"name": text, "value": -0.25}])
    assert read_rows(tmp_path / "a.csv") == [{"name": text, "value": "-0.25"}]
    no_formulas(tmp_path / "a.csv")


@pytest.mark.parametrize("value", [-1.5, -1e-12, 1e20, 3, -7, True])
def test_numbers_stay_numbers(value, tmp_path):
    write_rows(tmp_path / "a.csv", ("value",), [{"value": value}])
    cell = (tmp_path / "a.csv").read_text().splitlines()[1]
    assert cell == str(value) or float(cell) == pytest.approx(value)


@pytest.mark.parametrize("case", ["../../up", "/elsewhere", "a/../../up"])
def test_a_foreign_result_folder_is_reported_into_itself(case, evaluator, tmp_path):  # noqa: F811
    """Names in ``summary.json`` of somebody else may lead anywhere."""
    out = tmp_path / "deep" / "out"
    evaluator(attacks=QUICK, output_dir=out).run()
    for kind, name in (("adversarial", "clean"), ("predictions", "clean"), ("predictions", "label")):
        path = Path(os.path.normpath(out / kind / f"{case}_{name}.nii.gz"))
        if path.is_relative_to(tmp_path):
            shutil.copy(out / kind / f"case0_{name}.nii.gz", path)
    summary = json.loads((out / "summary.json").read_text())
    summary["cases"] = {case: "x.nii.gz"}
    (out / "summary.json").write_text(json.dumps(summary))
    before = everything(tmp_path)
    with pytest.raises(ValueError, match=re.escape(case)):
        write_report(out)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("model", ["../up", "/elsewhere", ".."])
def test_a_foreign_benchmark_is_reported_into_itself(model, benchmark, tmp_path):  # noqa: F811
    benchmark().run()
    path = tmp_path / "benchmark" / "benchmark.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "models": [model]}))
    before = everything(tmp_path)
    with pytest.raises(ValueError, match=re.escape(repr(model))):
        write_benchmark_report(tmp_path / "benchmark")
    assert everything(tmp_path) == before


# Links


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that nothing may be written to, with a file."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "file").write_text("mine")
    yield folder
    assert everything(folder) == {folder / "file": b"mine"}


@pytest.mark.parametrize("name", ["adversarial", "predictions", "figures"])
def test_links_to_folders_are_refused(name, evaluator, elsewhere, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    out.mkdir()
    (out / name).symlink_to(elsewhere)
    with pytest.raises(ValueError, match=rf"{name}.* link"):
        evaluator(attacks=QUICK).run()


def test_a_report_follows_no_links(evaluator, elsewhere, tmp_path):  # noqa: F811
    evaluator(attacks=QUICK).run()
    (tmp_path / "out" / "figures").symlink_to(elsewhere)
    with pytest.raises(ValueError, match=r"figures.* link"):
        write_report(tmp_path / "out")


@pytest.mark.parametrize("name", ["a", "figures"])
def test_a_benchmark_follows_no_links(name, benchmark, elsewhere, tmp_path):  # noqa: F811
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / name).symlink_to(elsewhere)
    with pytest.raises(ValueError, match=rf"{name}.* link"):
        benchmark().run()


FILES = ("cases.csv", "metrics.csv", "manifest.json", "summary.json", "index.html", "figures/case0.png")


@pytest.mark.parametrize("name", [*FILES, "adversarial/case0_clean.nii.gz", "predictions/case0_label.nii.gz"])
def test_links_to_files_are_replaced(name, evaluator, elsewhere, tmp_path):  # noqa: F811
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere / "other")
    evaluator(attacks=QUICK).run()
    write_report(tmp_path / "out")
    assert path.is_file() and not path.is_symlink()


def test_the_lock_follows_no_link(evaluator, elsewhere, tmp_path):  # noqa: F811
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").symlink_to(elsewhere / "file")
    with pytest.raises(ValueError, match=r"\.lock.* link"):
        evaluator(attacks=QUICK).run()


def test_the_folder_itself_may_be_a_link(evaluator, tmp_path):  # noqa: F811
    """A user's way to another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    evaluator(attacks=QUICK).run()
    assert (tmp_path / "disk" / "adversarial" / "case0_clean.nii.gz").is_file()


@pytest.mark.parametrize("name", ["model.pt", "last.pt", "summary.json"])
def test_a_training_follows_no_links(name, tiny, elsewhere, tmp_path):
    out = tmp_path / "made"
    out.mkdir()
    (out / name).symlink_to(elsewhere / "file")
    training = open_training(tiny.folder, ckpt_dir=out, output_dir=out / "eval", dataset_dir=tiny.data, epochs=1)
    TrainingCheckpoint(ckpt_dir=out, evaluator=training.evaluator).attach(training.trainer)
    training.trainer.run()
    assert (out / name).is_file() and not (out / name).is_symlink()


def test_conversion_and_trunk_follow_no_links(elsewhere, tmp_path):
    from monai_vafa.networks import UNETRPP

    torch.save(UNETRPP.acdc().state_dict(), tmp_path / "published.pt")
    (tmp_path / "model.pt").symlink_to(elsewhere / "file")
    convert_checkpoint(tmp_path / "published.pt", tmp_path / "model.pt", "unetrpp_acdc")
    assert not (tmp_path / "model.pt").is_symlink()


# Archives


def zipped(members):
    """A zip file of names and what they hold; of a link where it leads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name.removeprefix("link:"))
            if name.startswith("link:"):
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "member",
    ["../outside", "tiny/../../outside", "{root}/outside", "tiny/configs/../../../outside", "link:tiny/configs"],
)
def test_downloads_are_unpacked_into_their_folder(member, tmp_path, monkeypatch):
    """Whatever the archive of a bundle holds: MONAI unpacks it, and we rely on that."""
    root = tmp_path / "downloads"
    name = member.format(root=tmp_path)
    content = str(tmp_path) if name.startswith("link:") else "x"
    archive = zipped({name: content, "tiny/configs/metadata.json": "{}", "tiny/configs/outside": "x"})
    root.mkdir()
    monkeypatch.setattr(
        monai.bundle.scripts, "download_url", lambda url, filepath, **_: Path(filepath).write_bytes(archive)
    )
    with pytest.raises(ValueError):  # of several kinds, with what MONAI says
        find_bundle("tiny", version="1", source="github", bundle_dir=root)
    assert [path for path in tmp_path.rglob("*") if path.is_symlink()] == []
    assert {path.name for path in tmp_path.iterdir()} == {"downloads"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_the_archive_of_the_trunk_is_not_unpacked(kind, tmp_path, elsewhere):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("../outside")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo(trunk._MEMBER)
        link.type, link.linkname = kind, str(elsewhere / "file")
        tar.addfile(link)
    with pytest.raises(ValueError):
        trunk._read_state(tmp_path / "a.tar.gz")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "elsewhere"}


@pytest.mark.parametrize("name", ["../up", "/elsewhere", "a/../b", "-x", "a b", "a;b"])
def test_only_names_of_bundles_are_downloaded(name, tmp_path, monkeypatch):
    monkeypatch.setattr("monai_vafa.target.source.download", lambda **_: pytest.fail("went for the network"))
    with pytest.raises((FileNotFoundError, ValueError)):
        find_bundle(name, bundle_dir=tmp_path)
