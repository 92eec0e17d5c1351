# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed, run out of disk or memory, lose a worker or meet another run: the next run completes them."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.reliability.contents import contents
from tests.reliability.processes import (
    MINUTES,
    Command,
    call,
    count_calls,
    die_at_move,
    full_disk,
    kill_a_worker,
    out_of_memory,
    slow_network,
    small_files,
)
from tests.target import zoo

pytestmark = pytest.mark.slow
logger = logging.getLogger(__name__)

KILLS = 30
ATTACKS = {"quantize_only": {}, "vafa": {"steps": 1}}
CPU = ("--device", "cpu", "--logging_file", "False")
EPOCHS, ITERATIONS = 6, 2


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return zoo.softmax(tmp_path_factory.mktemp("zoo"))


def attack(bundle, folder):
    """Two cases under two attacks, with a report."""
    words = ["attack", bundle.folder, bundle.data, "--output_dir", folder, "--attacks", ATTACKS]
    return [*words, "--cases", "$@target.cases(@dataset_dir)[:2]", "--visibility_metrics", {}, *CPU]


def benchmark(bundle, folder):
    """Two models under an attack at two budgets, what transfers, and a report."""
    models = {name: {"bundle": str(bundle.folder)} for name in ("one", "other")}
    first = "${name: target.cases(@dataset_dir)[:1] for name, target in @targets.items()}"
    words = ["benchmark", "--dataset_dir", bundle.data, "--output_dir", folder, "--models", models, "--cases", first]
    words += ["--attacks", {"quantize_only": {}, "pgd": {"steps": 1}}, "--sweeps", {"pgd": {"eps": [8]}}]
    return [*words, "--visibility_metrics", {}, *CPU]


def harden(bundle, folder):
    """Six epochs; goes on with a training that has come to its first checkpoint."""
    words = ["harden", bundle.folder, bundle.data, "--ckpt_dir", folder, "--resume", (folder / "last.pt").is_file()]
    words += ["--epochs", EPOCHS, "--iterations_per_epoch", ITERATIONS, "--val_interval", 2, "--tensorboard", False]
    return [*words, "--attack_parameters", {"steps": 1}, "--validation_parameters", {"steps": 1}, *CPU]


COMMANDS = [attack, benchmark, harden]


class Unbroken:
    """Runs of commands that nothing disturbs: seconds, contents of the folder, losses."""

    def __init__(self, folder, bundle):
        self.folder, self.bundle, self.runs = folder, bundle, {}

    def __getitem__(self, command):
        if command not in self.runs:
            call(os.getpid, log=self.folder / "start.txt")  # the first process waits for the imports
            folder, start = self.folder / command.__name__, time.monotonic()
            run = Command(command(self.bundle, folder), self.folder / "log.txt")
            assert run.wait() == 0, run.said[-3000:]
            self.runs[command] = time.monotonic() - start, contents(folder), losses(run.said)
        return self.runs[command]

    def sizes(self, command):
        """Of all files, in bytes; the disk uses up pages of 4 KiB."""
        sizes = [path.stat().st_size for name in self[command][1] for path in [self.folder / command.__name__ / name]]
        return [-(size // -4096) * 4096 for size in sizes]


@pytest.fixture(scope="module")
def unbroken(bundle, tmp_path_factory):
    return Unbroken(tmp_path_factory.mktemp("unbroken"), bundle)


def last_line(run):
    """What a command said at last; a progress bar may stand before it."""
    return re.split("[\\r\\n]", run.said.rstrip())[-1]


def losses(log):
    """What a training logged of its iterations: (epoch, iteration) -> all texts."""
    found = {}
    for step, text in re.findall(r"Epoch: (\d+/\d+, Iter: \d+/\d+) -- (.*)", log):
        found.setdefault(step, set()).add(text)
    return found


def same(made, expected):
    """Both folders hold the same files with the same content."""
    assert list(made) == list(expected)
    assert [name for name, content in made.items() if content != expected[name]] == []


def kill_and_resume(bundle, unbroken, command, folder, kills):
    """
    Start a command into a folder, let it be killed, start it again, and so on; compare what the last run has made.
    Each of ``kills`` starts a command with words and log and says whether it was killed. Gives how many were.
    """
    _, expected, steps = unbroken[command]
    log, killed = folder.with_suffix(".txt"), 0
    for kill in kills:
        if not kill(command(bundle, folder), log):
            break
        killed += 1
    else:
        last = Command(command(bundle, folder), log)
        assert last.wait() == 0, last.said[-3000:]
    same(contents(folder), expected)
    said = losses(log.read_text())
    assert {step: said[step] for step in steps} == steps
    return killed


def killed_after(seconds, words, log):
    run = Command(words, log)
    run.process.join(seconds)
    run.kill()
    return was_killed(run)


def killed_at_move(number, moment, words, log):
    return was_killed(Command(words, log, partial(die_at_move, number, moment)))


def was_killed(run):
    assert run.wait() in (0, -signal.SIGKILL), run.said[-3000:]
    return run.process.exitcode != 0


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_moment(command, bundle, unbroken, tmp_path):
    """Up to five kills of the runs into one folder, at random moments; two folders at a time."""
    seconds, killed, folders = unbroken[command][0], 0, 0

    def run(number):
        chance = random.Random(f"{command.__name__} {number}")
        kills = [partial(killed_after, chance.uniform(0.2, 0.9) * seconds) for _ in range(5)]
        return kill_and_resume(bundle, unbroken, command, tmp_path / str(number), kills)

    with ThreadPoolExecutor(2) as pool:
        while killed < KILLS:
            killed += sum(pool.map(run, [folders, folders + 1]))
            folders += 2
    logger.info("%s: %d kills of the runs into %d folders", command.__name__, killed, folders)


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_as_a_file_is_written(command, bundle, unbroken, tmp_path):
    """Within its writing, before it is moved to its place, and after."""
    moments = itertools.cycle(["within", "after", "before"])
    kills = (
        partial(killed_at_move, *each) for each in zip([1, 1, 2, 3, 4, 6, 9, 12, 15, 18, 5, 2], moments, strict=False)
    )
    assert kill_and_resume(bundle, unbroken, command, tmp_path / "out", kills) > 5


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", [2, 5, 8])
def test_disk_full_from_some_file_on(command, number, bundle, unbroken, tmp_path):
    fault_and_resume(command, bundle, unbroken, tmp_path / "out", partial(full_disk, number), "No space left on device")


@pytest.mark.parametrize("command", COMMANDS)
def test_files_that_may_not_grow(command, bundle, unbroken, tmp_path):
    """What writes weights is no Python, and says nothing of the disk."""
    largest = max(unbroken.sizes(command))
    fault_and_resume(
        command, bundle, unbroken, tmp_path / "out", partial(small_files, largest - 4096), "File too large"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_full_disk(command, bundle, unbroken, tmp_path):
    """A file system that is too small, and then is not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, sum(unbroken.sizes(command)) // 2) as grow:
        run = Command(command(bundle, disk / "out"), tmp_path / "log.txt")
        assert run.wait() == 1
        refused(run, disk / "out", "No space left on device")
        kept = finished(disk / "out")
        grow()
        resume_and_compare(command, bundle, unbroken, disk / "out", kept)


def fault_and_resume(command, bundle, unbroken, folder, fault, reason):
    """A run with a fault says what is wrong where and loses nothing; the next run completes it."""
    run = Command(command(bundle, folder), folder.with_suffix(".txt"), fault)
    assert run.wait() == 1
    refused(run, folder, reason)
    resume_and_compare(command, bundle, unbroken, folder, finished(folder))


def refused(run, folder, reason):
    """The last line names reason, folder and way out."""
    said = last_line(run)
    assert said.startswith("Error: ")
    assert reason in said
    assert str(folder) in said
    assert re.search("again|resume", said)


def finished(folder):
    """When the volumes of finished rows were written."""
    times = {}
    for manifest in folder.rglob("manifest.json"):
        for case, attacks in json.loads(manifest.read_text())["finished"].items():
            for place in (name for record in attacks.values() for name in record if "/" in name):
                kind, attack = place.split("/")
                path = manifest.parent / kind / f"{case}_{attack}.nii.gz"
                times[path] = path.stat().st_mtime_ns
    return times


def resume_and_compare(command, bundle, unbroken, folder, kept):
    again = Command(command(bundle, folder), folder.with_suffix(".txt"))
    assert again.wait() == 0, again.said[-3000:]
    same(contents(folder), unbroken[command][1])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@contextmanager
def mounted(folder, size):
    """A file system in memory; gives what makes it large."""
    tmpfs = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if shutil.which("mount") is None or (made := subprocess.run(tmpfs, capture_output=True, text=True)).returncode:
        pytest.skip(f"no file system may be mounted here: {made.stderr.strip()}")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=100M", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def read_only(tmp_path):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o555)
    return tmp_path / "locked" / "out"


def under_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "out"


def in_proc(tmp_path):
    return Path("/proc/out")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", [under_a_file, in_proc, read_only])
def test_folder_that_can_not_be_written(command, place, bundle, tmp_path):
    folder = place(tmp_path)
    if place is read_only and os.access(folder.parent, os.W_OK):
        pytest.skip("this user may write into any folder")
    run = Command(command(bundle, folder), tmp_path / "log.txt")
    assert run.wait() == 1
    said = last_line(run)
    assert said.startswith("Error: ") and str(folder) in said
    assert ("ckpt_dir" if command is harden else "output_dir") in said
    assert not re.search("case0: clean|Iter: 1", run.said)


def harden_with_a_worker(bundle, folder):
    return [*harden(bundle, folder), "--overrides", {"train#dataloader#num_workers": 1}]


def test_worker_that_dies(bundle, unbroken, tmp_path):
    """The one of the third epoch of a training."""
    command, out = harden_with_a_worker, tmp_path / "out"
    run = Command(command(bundle, out), tmp_path / "log.txt", partial(kill_a_worker, 3))
    assert run.wait(MINUTES) == 1
    said = last_line(run)
    assert said.startswith("Error: ") and "worker" in said
    assert "Failed in epoch 3 of 6; resume=True goes on from last.pt" in run.said
    assert json.loads((out / "summary.json").read_text())["status"] == "failed"
    resume_and_compare(command, bundle, unbroken, out, {})


@pytest.mark.parametrize(("command", "share"), [(attack, 0.2), (attack, 0.6), (benchmark, 0.3), (benchmark, 0.9)])
def test_out_of_memory_in_a_window(command, share, bundle, unbroken, tmp_path):
    """What needed it is named as failed, all else is done."""
    out, log = tmp_path / "out", tmp_path / "log.txt"
    calls = call(count_calls, command(bundle, tmp_path / "counted"), log=tmp_path / "counted.txt")
    run = Command(command(bundle, out), log, partial(out_of_memory, int(share * calls)))
    assert run.wait() == 1
    said = last_line(run)
    assert "Traceback" not in run.said
    assert re.search("1 (of 2 cases|parts of the benchmark) failed: .*case.*OutOfMemoryError: CUDA out of memory", said)
    done, expected = contents(out), unbroken[command][1]
    assert len(finished(out)) >= len([name for name in expected if name.endswith(".nii.gz")]) / 2
    assert "index.html" in done
    resume_and_compare(command, bundle, unbroken, out, finished(out))


@pytest.mark.parametrize("command", [*COMMANDS, harden_with_a_worker])
def test_second_run_into_a_folder(command, bundle, unbroken, tmp_path):
    """It is told who has the folder; the lock of a killed run does not stay."""
    out = tmp_path / "out"
    first = Command(command(bundle, out), tmp_path / "first.txt", slow_network)
    first.wait_for("case0: quantize_only" if command in (attack, benchmark) else "Iter: 1/")
    second = Command(command(bundle, out), tmp_path / "second.txt")
    assert second.wait() == 1
    said = last_line(second)
    assert said.startswith("Error: ") and str(out) in said and f"process {first.process.pid} " in said
    first.kill()
    resume_and_compare(command, bundle, unbroken, out, finished(out))
