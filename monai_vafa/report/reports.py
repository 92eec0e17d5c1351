# SPDX-License-Identifier: Apache-2.0
"""Reports on the result folders of attack runs and of robustness benchmarks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path

from monai_vafa.results.files import read_json, write_rows
from monai_vafa.results.schema import BENCHMARK_FILES, CERTAINTY_FILES, CLEAN, LABEL, RUN_FILES, SUMMARY, volume_name
from monai_vafa.results.statistics import mean

from .benchmark import Benchmark, case_rows
from .certainty import certainty_section
from .checklist import checklist_section
from .doubts import run_doubts
from .page import publish
from .tables import Section, Table, cell, class_table, damage_table, run_notes, score_columns
from .visibility import visibility_section

_WORST_COLUMNS = ("model", "group", "case", "attack", "dsc", "dsc_foreground", "lpips", "ssim")


@contextmanager
def readable(folder: str | os.PathLike) -> Iterator[None]:
    """Let errors of content name the folder: what is not as a run leaves it can raise anything."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"no report on {os.fspath(folder)!r}: {type(error).__name__}: {error}") from error


def write_report(folder: str | os.PathLike) -> None:
    """
    Log the tables of a run, draw a figure per case, and write everything to ``index.html``.

    Figures need matplotlib; without it a warning says so and the rest is written.

    Args:
        folder: result folder of a run.

    Raises:
        FileNotFoundError: If the folder has no ``summary.json``.
        ValueError: If a file in it is damaged.
    """
    with readable(folder):
        root = Path(folder)
        if not (summary := read_json(root / SUMMARY)):
            raise FileNotFoundError(f"{root / SUMMARY} does not exist: not the folder of an attack run.")
        for case in summary["cases"]:
            volume_name("predictions", case, LABEL)  # refuses names that lead out of the folder
        means, cases = summary["means"], case_rows(root, summary)
        statistics = {"": summary["statistics"]} if summary.get("statistics") else {}
        damage = damage_table(means, "", run_notes(summary, cases), summary.get("statistics"))
        sections = [
            Section("Damage and visibility", [damage]),
            certainty_section(root, statistics),
            Section("Each class", [class_table(means)]),
        ]
        description, doubts = str(summary["description"]), run_doubts(summary, cases)
        threats = {name: str(row["threat_model"]) for name, row in summary["attacks"].items()}
    publish(
        root,
        title="Attack on a segmentation model",
        description=description,
        doubts=doubts,
        sections=sections,
        runs={"": summary},
        threats=threats,
        files={**RUN_FILES, **CERTAINTY_FILES},
    )


def write_benchmark_report(folder: str | os.PathLike, sections: Iterable[Callable[[Benchmark], Section]] = ()) -> None:
    """
    Write tables, figures, checklist and page of a benchmark, and log the tables.

    As :func:`write_report`, from the result files alone, also for a benchmark of which a part failed: it says what is
    missing. The page lists the files.

    Args:
        folder: result folder of a benchmark.
        sections: more sections, shown after the first table; each is made from the benchmark that was read.

    Raises:
        FileNotFoundError: If there is no ``benchmark.json``.
        ValueError: If a file is damaged, or a role of the checklist or a group of worst cases names an unknown row.
    """
    with readable(folder):
        benchmark = Benchmark(folder)
        models = benchmark.models
        runs = {model: benchmark.summaries[model] for model in models if benchmark.means(model)}
        status = benchmark.status
        doubts = [] if status == "complete" else [f"This benchmark is not complete (status: {status})."]
        doubts += [f"{model} has no results." for model in models if model not in runs]
        doubts += [f"{model}: {doubt}" for model in runs for doubt in run_doubts(runs[model], benchmark.cases[model])]
        ours = (damage_section, models_section, visibility_section, transfer_section, checklist_section)
        first, *others = [section(benchmark) for section in ours]
        last = Section("Each class", [class_table(benchmark.means(model), model) for model in runs])
        threats = {row: str(facts["threat_model"]) for row in benchmark.attacks if (facts := benchmark.facts[row])}
    written = {**BENCHMARK_FILES, **CERTAINTY_FILES}
    files = {name: text for name, text in written.items() if (benchmark.folder / name).is_file()}
    publish(
        benchmark.folder,
        title=f"Robustness of {', '.join(models)}",
        description=benchmark.description,
        doubts=doubts,
        sections=[first, *(section(benchmark) for section in sections), *others, last],
        runs=runs,
        threats=threats,
        files={**files, **{f"MODEL/{name}": text for name, text in RUN_FILES.items()}},
    )


def damage_section(benchmark: Benchmark) -> Section:
    """Means of each model and of its worst cases, with ``table.csv`` and ``worst_case.csv``."""
    means = {model: {**benchmark.means(model), **benchmark.worst_means(model)} for model in benchmark.models}
    rows = [{"model": model, "attack": name, **row} for model in means for name, row in means[model].items()]
    groups = product(benchmark.models, benchmark.worst_cases)
    worst = [{"model": m, "group": g, **row} for m, g in groups for row in benchmark.rows_under(m, g)]
    write_rows(benchmark.folder / "table.csv", ("model", "attack", *score_columns(rows)), rows)
    write_rows(benchmark.folder / "worst_case.csv", _WORST_COLUMNS, worst)
    tables = []
    for model, summary in benchmark.summaries.items():
        notes = [
            f"{group}: for each case the lowest DSC under {', '.join(attacks)}."
            for group, attacks in benchmark.worst_cases.items()
            if group in means[model]
        ]
        notes += run_notes(summary, benchmark.cases[model])
        tables.append(damage_table(means[model], model, notes, benchmark.statistics.get(model)))
    return Section("Damage and visibility", tables)


def models_section(benchmark: Benchmark) -> Section:
    """How certain the damage to each model is, and the differences between models."""
    scores = {
        row: {model: values for model in benchmark.models if (values := benchmark.case_values(model, row, "dsc"))}
        for row in (CLEAN, *benchmark.attacks, *benchmark.worst_cases)
    }
    return certainty_section(benchmark.folder, benchmark.statistics, scores)


def transfer_section(benchmark: Benchmark) -> Section:
    """DSC of each target under each attack made on each source; empty if nothing was transferred."""
    models = benchmark.models
    cases = list(dict.fromkeys(row["case"] for row in benchmark.transfers))
    own = partial(benchmark.white_box, cases=cases)
    rows = [["attack", "made on", *(f"DSC of {model}" for model in models)]]
    rows.append([CLEAN, "-", *(cell("dsc", own(model, CLEAN)) + " " for model in models)])
    for attack in dict.fromkeys(row["attack"] for row in benchmark.transfers if row["attack"] != CLEAN):
        for source in models:
            sent = {m: mean(benchmark.transferred(source, m, attack).values()) for m in models}
            line = [cell("dsc", own(m, attack)) + "*" if m == source else cell("dsc", sent[m]) + " " for m in models]
            rows.append([attack, source, *line])
    notes = ["DSC in percent, mean over the transferred cases. * white box: made on this very model."]
    return Section("Transfer", [Table("", rows, notes, labels=2)] if cases else [])
