# SPDX-License-Identifier: Apache-2.0
"""A result folder is not trusted: damage, other inputs, names that meet, and second runs are noticed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_vafa.atomic import remove_partial_files, write_file
from monai_vafa.results.files import folder_lock
from monai_vafa.results.folder import ResultFolder

QUICK = {"quantize_only": {}}


def contents(folder):
    """Every file of a run but for the seconds it took."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    with open(folder / "cases.csv", newline="", encoding="utf-8") as file:
        files["cases.csv"] = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for means in summary["means"].values():
        means.pop("seconds")
    return {**files, "summary.json": summary}


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def without_line(path, number):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:number] + lines[number + 1 :]))


def last_row_cut(path):
    text = path.read_text()
    path.write_text(text[: text.rindex("\n", 0, -1) + 20])


@pytest.mark.parametrize(
    ("damage", "rows"),
    [
        (lambda out: last_row_cut(out / "cases.csv"), 1),
        (lambda out: cut(out / "cases.csv", -1), 0),
        (lambda out: without_line(out / "cases.csv", 2), 1),
        (lambda out: without_line(out / "metrics.csv", 3), 1),
        (lambda out: (out / "metrics.csv").unlink(), 4),
        (lambda out: (out / "summary.json").unlink(), 0),
        (lambda out: cut(out / "summary.json", 50), 0),
        (lambda out: (out / "manifest.json").unlink(), 4),
        (lambda out: cut(out / "manifest.json", 50), 4),
        (lambda out: cut(out / "adversarial" / "case1_quantize_only.nii.gz", 500), 1),
        (lambda out: cut(out / "predictions" / "case0_clean.nii.gz", 0), 1),
        (lambda out: cut(out / "predictions" / "case0_label.nii.gz", 30), 1),
        (lambda out: (out / "predictions" / "case0_label.nii.gz").unlink(), 1),
        (lambda out: (out / "cases.csv").write_bytes(b"\xff\x00,\n\n"), 4),
    ],
)
def test_what_is_damaged_is_computed_anew_and_said(evaluator, datalist, tmp_path, damage, rows, caplog):
    def make():
        return evaluator(cases=datalist[:2], attacks=QUICK)

    make().run()
    whole = contents(tmp_path / "out")
    damage(tmp_path / "out")
    again = make()
    again.run()
    assert again.state.iteration == rows
    assert ("computed anew" in caplog.text) == (rows > 0)
    assert contents(tmp_path / "out") == whole


def test_parameters_are_compared_without_a_summary(evaluator, tmp_path):
    evaluator(attacks={"vafa": {"steps": 1}}).run()
    (tmp_path / "out" / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"attacks\.vafa\.steps: 1, now 2"):
        evaluator(attacks={"vafa": {"steps": 2}})


@pytest.mark.parametrize("key", ["image", "label"])
def test_files_that_changed_under_their_path_are_refused(evaluator, datalist, key):
    evaluator(attacks=QUICK).run()
    path = datalist[1][key]
    image = nib.load(path)
    voxels = np.array(image.dataobj)
    voxels[0, 0, 0] += 1
    nib.save(nib.Nifti1Image(voxels, image.affine), path)
    with pytest.raises(ValueError, match=rf"{key} of case 'case1' changed since\. Choose another output_dir"):
        evaluator(attacks=QUICK)
    evaluator(attacks=QUICK, cases=datalist[:1])


def test_a_label_that_comes_or_goes_is_a_change(evaluator, datalist):
    evaluator(attacks=QUICK).run()
    with pytest.raises(ValueError, match="label of case 'case0' changed"):
        evaluator(attacks=QUICK, cases=[{"image": datalist[0]["image"]}])


def test_a_file_that_was_only_touched_is_the_same(evaluator, datalist):
    evaluator(attacks=QUICK).run()
    os.utime(datalist[0]["image"], (1, 1))
    again = evaluator(attacks=QUICK)
    again.run()
    assert again.state.iteration == 0


def renamed(datalist, *names):
    items = []
    for item, name in zip(datalist, names, strict=False):
        path = Path(item["image"]).with_name(f"{name}.nii.gz")
        items.append({**item, "image": str(Path(item["image"]).rename(path))})
    return items


@pytest.mark.parametrize(
    ("cases", "attacks"),
    [
        (("a_hard", "a"), {"vafa": {}, "hard_vafa": {"attack": "vafa"}}),
        (("a_my", "a"), {"my_label": {"attack": "vafa"}}),
        (("A_hard", "a"), {"vafa": {}, "hard_vafa": {"attack": "vafa"}}),
        (("a_my", "a"), {"my_clean": {"attack": "vafa"}}),
    ],
)
def test_names_that_lead_to_one_file_are_refused(evaluator, datalist, cases, attacks):
    with pytest.raises(ValueError, match=r"would share the file .* rename an attack"):
        evaluator(cases=renamed(datalist, *cases), attacks=attacks)


def test_names_that_meet_those_of_an_earlier_run_are_refused(evaluator, datalist):
    items = renamed(datalist, "Case", "other")
    evaluator(attacks=QUICK, cases=items[:1]).run()
    moved = {**items[1], "image": str(Path(items[1]["image"]).rename(Path(items[1]["image"]).with_name("case.nii.gz")))}
    with pytest.raises(ValueError, match="would share the file"):
        evaluator(attacks=QUICK, cases=[moved])


def test_cases_that_differ_in_letter_case_are_told_apart_by_their_folders(evaluator, datalist, tmp_path):
    items = []
    for item, name in zip(datalist, ("p1/Scan", "p2/scan"), strict=False):
        path = tmp_path / f"{name}.nii.gz"
        path.parent.mkdir()
        items.append({**item, "image": str(Path(item["image"]).rename(path))})
    assert list(evaluator(cases=items).cases) == ["p1_Scan", "p2_scan"]


@pytest.mark.parametrize("names", ["aA", ("a", "Figures")])
def test_models_whose_folders_would_meet_are_refused(benchmark, names):
    with pytest.raises(ValueError, match="their folders would be the same"):
        _benchmark_of(benchmark, names)


def _benchmark_of(benchmark, names):
    made = benchmark(models=("a", "b"))
    targets = [e.target for e in made.evaluators.values()]
    return type(made)(targets=dict(zip(names, targets, strict=True)), attacks=QUICK, output_dir="unused")


def test_a_second_run_is_refused_and_told_who_has_the_folder(evaluator, tmp_path):
    first = evaluator(attacks=QUICK)
    said = rf"in use by another run \(process {os.getpid()} on .*, since 20.* UTC\)"
    with folder_lock(tmp_path / "out"), pytest.raises(ValueError, match=said):
        first.run()
    first.run()
    assert not (tmp_path / "out" / ".lock").exists()


def test_a_benchmark_is_locked_too(benchmark, tmp_path):
    made = benchmark()
    with folder_lock(tmp_path / "benchmark"), pytest.raises(ValueError, match="choose another output_dir"):
        made.run()


def test_a_benchmark_removes_what_killed_ones_left(benchmark, tmp_path):
    partial = []
    write_file(tmp_path / "benchmark" / "table.csv", lambda path: (partial.append(path), path.write_text("")))
    (tmp_path / "benchmark" / "table.csv").rename(partial[0])
    benchmark(models="a", attacks=QUICK).run()
    assert not partial[0].exists()


def test_a_dead_process_keeps_no_lock(tmp_path):
    code = f"""
        import pathlib, time
        from monai_vafa.results.files import folder_lock
        with folder_lock(pathlib.Path({str(tmp_path)!r})):
            print("locked", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(ValueError, match=f"process {holder.pid}"), folder_lock(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with folder_lock(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_worker_of_a_dead_process_keeps_no_lock(tmp_path):
    code = f"""
        import os, pathlib, time
        from monai_vafa.results.files import folder_lock
        with folder_lock(pathlib.Path({str(tmp_path)!r})):
            if os.fork() == 0:
                print(os.getpid(), flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as holder:
        worker = int(holder.stdout.readline())
        try:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            with folder_lock(tmp_path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


def test_partial_files_of_others_stay(tmp_path):
    seen = []
    write_file(tmp_path / "a.txt", lambda partial: (seen.append(partial.name), partial.write_text("")))
    host = seen[0].removeprefix(".a.txt.").rpartition(f".{os.getpid()}.partial")[0]
    assert seen == [f".a.txt.{host}.{os.getpid()}.partial"]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    own = [seen[0], f".b.{host}.{gone.pid}.partial"]
    others = [
        ".download.partial",
        f".b.{host}.{os.getppid()}.partial",
        f".b.elsewhere.{gone.pid}.partial",
        ".b.partial",
    ]
    for name in own + others:
        (tmp_path / name).write_text("")
    remove_partial_files(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.txt", *others])


def test_ctrl_c_keeps_finished_rows_and_says_so(evaluator, benchmark, tmp_path, monkeypatch):
    run = evaluator(attacks=QUICK)
    monkeypatch.setattr(run, "_class_map", _interrupt_after(run._class_map))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["status"] == "interrupted"
    assert (tmp_path / "out" / "cases.csv").read_text().count("\n") == 2
    models = benchmark()
    for made in models.evaluators.values():
        monkeypatch.setattr(made, "run", _interrupt_after(made.run, 0))
    with pytest.raises(KeyboardInterrupt):
        models.run()
    assert json.loads((tmp_path / "benchmark" / "benchmark.json").read_text())["status"] == "interrupted"


def _interrupt_after(function, calls=2):
    left = iter(range(calls))

    def wrapped(*args, **kwargs):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return wrapped


_IN_A_C_LOCALE = """
    import sys
    from monai_vafa.results.files import file_name, unicode_text, write_text
    from monai_vafa.results.folder import ResultFolder
    from monai_vafa.evaluation.case import named_cases
    import numpy as np

    path = sys.argv[2]
    [case] = named_cases([{"image": path}], "image")
    parameters = {"attacks": {"pgd": {}}, "cases": {case: unicode_text(path)}}
    made = ResultFolder(sys.argv[1], parameters, {case: {"image": "1"}})
    print(len(made.finished(case)))
    with made.locked():
        made.write_volume("predictions", case, "pgd", np.zeros((1, 2, 2, 2), np.uint8), np.eye(4), path)
        row = {"case": case, "attack": "pgd", "dsc": 0.5}
        made.add(row, [{**row, "class": "Gefäß"}])
        made.write_summary({"parameters": made.parameters})
        write_text(made.folder / "figures" / file_name(f"{case}.html"), case)
"""


def test_names_are_the_same_in_every_locale(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "müller.nii.gz")
    finished = []
    for locale in ({"PYTHONUTF8": "0", "LC_ALL": "C"}, {"PYTHONUTF8": "1"}, {"PYTHONUTF8": "0", "LC_ALL": "C"}):
        command = [sys.executable, "-c", textwrap.dedent(_IN_A_C_LOCALE), tmp_path / "out", tmp_path / "müller.nii.gz"]
        command[2] = command[2].replace("Gefäß", "Gef\\u00e4\\u00df")
        finished.append(int(subprocess.check_output(command, env={**os.environ, **locale})))
    assert finished == [0, 1, 1]
    made = ResultFolder(tmp_path / "out", {"attacks": {"pgd": {}}, "cases": {}})
    [row], [metric] = made.rows()
    assert (row["case"], metric["class"]) == ("müller", "Gefäß")
    assert (tmp_path / "out" / "predictions" / "müller_pgd.nii.gz").is_file()
    assert (tmp_path / "out" / "figures" / "müller.html").read_text(encoding="utf-8") == "müller"
