# SPDX-License-Identifier: Apache-2.0
"""
Models ranked by the DSC that the whole roster of attacks leaves them.

A network is accepted by the rules of RobustBench (https://arxiv.org/abs/2010.09670); further rules make results
complete and comparable. ``leaderboard.schema.json`` says what is in the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from monai_vafa.attacks.roster import ROSTER, RosterEntry
from monai_vafa.results.files import folder_lock, read_json, write_json
from monai_vafa.results.folder import ResultFolder, as_stored, differences
from monai_vafa.results.schema import BENCHMARK, CLEAN, MANIFEST, SUMMARY
from monai_vafa.results.statistics import interval, mean

from .benchmark import Benchmark
from .checklist import referee_checklist
from .page import publish
from .reports import readable
from .tables import Section, Table, cell_with_interval

FILE = "leaderboard.json"
SCHEMA_VERSION = 1
# rule -> the way out where it is broken
RULES = {
    "complete": "Run the benchmark again into the same folder, which computes what is missing, and submit all of it.",
    "known weights and data": "Run the benchmark on a model with a file of weights, and on labelled files.",
    "whole roster": "Run the benchmark with its default attacks, on this version of the package.",
    "gradients": "At most 5 % of the steps may have none, and none may be NaN: attack the model without what hides.",
    "deterministic": "Switch off what is random, and run the benchmark into another folder.",
    "no optimisation inside": "Leave that part out, and run the benchmark into another folder.",
    "checklist": "Run it with --checklist True; if an attack is too weak, name a stronger one in checklist_roles.",
    "claims hold": "Correct the claim, or find out what differs between the two runs.",
}
_LOST = {"zero_gradient": 0.05, "nonfinite_gradient": 0.0}  # column of cases.csv -> its largest mean
_FORWARD = {"unstable_logits": "deterministic", "inner_gradients": "no optimisation inside"}  # such columns -> rule
_FITTED = ("activation", "block_size", "ignore_label", "intensity_range", "progress", "seed")  # to the model
_SCORES = ("worst_case", "worst_attack", "clean")
_HEADER = ["", "model", "worst case", "worst attack", "its DSC", "clean", "minutes", "weights", "monai_vafa"]
_TOLERANCE = 0.5  # points of DSC between a claim and what was measured
_NO_CLAIM: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "model": "", "data": "", "reference": "", "claimed": {}}


def leaderboard(
    action: str,
    results: str | os.PathLike,
    model: str | None = None,
    *,
    reference: str | None = None,
    claim: str | os.PathLike | None = None,
    output_dir: str | os.PathLike = "output/leaderboard",
) -> str:
    """
    Add models of a benchmark to a leaderboard, leaderboard.json and index.html, if their results pass its rules.

    An entry of the same model, weights, data and setting is replaced. If a model is refused, nothing is written.

    Args:
        action: "add".
        results: folder of a benchmark that ran with its checklist.
        model: one of its models; by default that of the claim, else all.
        reference: who submits what, such as authors, venue and year; by default that of the claim.
        claim: JSON file of model, data, reference and claimed DSC in percent, see docs/leaderboard.md.
        output_dir: folder of the leaderboard.

    Returns:
        path of the page.

    Raises:
        FileNotFoundError: If there is no benchmark in ``results``.
        ValueError: If a model breaks a rule; says which, where, and the way out.
    """
    if action != "add":
        raise ValueError(f"action={action!r} must be 'add'.")
    claimed = _NO_CLAIM if claim is None else _read_claim(Path(claim))
    model, reference = model or claimed["model"], reference or claimed["reference"]
    if not isinstance(reference, str) or not reference:
        raise ValueError(f"reference={reference!r} must say who submits what: authors, venue and year, or an address.")
    with readable(results):
        benchmark = Benchmark(results)
        models = [name for name in benchmark.models if name == model or not model]
        problems = [(name, *each) for name in models for each in islice(_problems(benchmark, name, claimed), 1)]
        made = [] if problems else [_entry(benchmark, name, claimed["data"]) for name in models]
    if not models:
        raise ValueError(f"model={model!r} is none of those of the benchmark: {', '.join(benchmark.models)}.")
    if problems:
        told = [f"{name} breaks the rule {rule!r}: {place}. {RULES[rule]}" for name, rule, place in problems]
        raise ValueError(f"nothing was added. {' '.join(told)}")
    file, version = Path(output_dir, FILE), SCHEMA_VERSION
    with folder_lock(file.parent):
        content = read_json(file) or {"schema_version": version, "entries": []}
        if content.get("schema_version") != version:
            raise ValueError(f"{os.fspath(file)!r} must have schema_version {version}: choose another output_dir.")
        every = [*content["entries"], *({**entry, "reference": reference} for entry in made)]
        entries = sorted({_key(e): e for e in every}.values(), key=lambda e: (_key(e)[:2], -e["worst_case"]["dsc"]))
        write_json(file, {"schema_version": version, "entries": entries})
        _write_page(file.parent, entries)
    return os.fspath(file.with_name("index.html"))


def _read_claim(path: Path) -> dict[str, Any]:
    """A submission, in the form of ``docs/leaderboard_claim.json``."""
    content, form = read_json(path), _NO_CLAIM
    typed = set(content) == set(form) and all(type(content[key]) is type(form[key]) for key in form)
    if not typed or content["schema_version"] != SCHEMA_VERSION or not content["claimed"]:
        raise ValueError(f"claim={os.fspath(path)!r} must be a JSON file like docs/leaderboard_claim.json.")
    if bad := [k for k, v in content["claimed"].items() if k not in _SCORES or type(v) not in (int, float)]:
        raise ValueError(f"claimed[{bad[0]!r}] of {os.fspath(path)!r} must be a DSC in percent for {_SCORES}.")
    return content


def _problems(benchmark: Benchmark, model: str, claimed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Rules that a model breaks, and where; each takes those before for granted."""
    summary, at, cases = benchmark.summaries[model], f"{model}/{SUMMARY}", f"{model}/cases.csv"
    for place, status in ((BENCHMARK, benchmark.status), (at, summary.get("status"))):
        if status != "complete":
            yield "complete", f"{place} has status {status!r}"
    if summary["unlabelled"]:
        yield "complete", f"{summary['unlabelled']} cases of {at} have no label"
    facts, hashes = summary["attacks"], _hashes(benchmark, model)
    scored = {name: benchmark.case_values(model, name, "dsc") for name in (CLEAN, *facts)}
    folder = ResultFolder(benchmark.folder / model, summary["parameters"])
    for case in summary["cases"]:
        if lost := {*folder.missing(case, list(scored), ()), *(name for name in scored if case not in scored[name])}:
            yield "complete", f"{cases} has no undamaged row with a DSC for {case} under {', '.join(sorted(lost))}"
        if len(hashes[case]) < 2 or not all(hashes[case].values()):
            yield "known weights and data", f"{model}/{MANIFEST} lacks hashes of {case}"
    if not summary["parameters"]["target"].get("checkpoint_sha256"):
        yield "known weights and data", f"{at} lacks the hash of the weights"
    for name, entry in ROSTER.items():
        if name not in benchmark.attacks:
            yield "whole roster", f"{name} did not run"
        for line in differences(_expected(entry, facts[name]), _made(facts[name])) if name in facts else ():
            if "rescale_only" in facts or not line.startswith("rescale_slices"):  # left out where slices are not axial
                yield "whole roster", f"{name} in {at} has {line}"
    # an attack that has succeeded may have nothing left to climb
    tried = [row for row in benchmark.cases[model] if row["attack"] in _ranked(facts)]
    left = [row for row in tried if float(row["dsc"]) >= summary["statistics"]["threshold"]]
    for column, most in _LOST.items():
        if (share := sum(float(row.get(column) or 0) for row in left)) > most * len(left):
            yield "gradients", f"{column} in {cases} is {share / len(left):.3g} on average"
    for column, rule in _FORWARD.items():
        for row in benchmark.rows_under(model, CLEAN):
            if float(row.get(column) or 1) > 0:
                yield rule, f"{column} of {row['case']} in {cases} is {row.get(column) or 'missing'}"
    for check, verdict, reason in (each.values() for each in referee_checklist(benchmark, model)):
        alone = len(benchmark.models) == 1 and check == "white box beats transfer"
        if verdict not in ("pass", "not applicable" if alone else "pass"):
            yield "checklist", f"{check}: {verdict}, {reason.rstrip('.')}"
    measured = _entry(benchmark, model)
    for score, value in claimed["claimed"].items():
        if not abs(100 * measured[score]["dsc"] - value) <= _TOLERANCE:  # nor is NaN near
            yield "claims hold", f"{score} is {value:g} by the claim and {100 * measured[score]['dsc']:.2f} as measured"


def _hashes(benchmark: Benchmark, model: str) -> dict[str, dict[str, str]]:
    """Case -> hashes of its files."""
    known = read_json(benchmark.folder / model / MANIFEST).get("inputs", {})
    return {case: known.get(case, {}) for case in benchmark.summaries[model]["cases"]}


def _made(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Class and parameters of an attack, but for those that it takes from the model."""
    return {"class": facts["class"], **{k: v for k, v in facts["parameters"].items() if k not in _FITTED}}


def _expected(entry: RosterEntry, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the roster makes of an attack, in the form for volumes or for slices that a model takes."""
    kin = (*entry.attack.__bases__, *entry.attack.__subclasses__())
    forms = [each for each in kin if getattr(each, "in_plane", None) != entry.attack.in_plane]
    form = next((each for each in forms if each.__name__ == facts["class"]), entry.attack)
    return as_stored(_made({"class": form.__name__, "parameters": form(**entry.parameters).parameters}))


def _ranked(facts: Iterable[str]) -> list[str]:
    """Attacks of the roster that ask the network."""
    return [name for name in facts if name in ROSTER and not ROSTER[name].control]


def _entry(benchmark: Benchmark, model: str, data: str = "") -> dict[str, Any]:
    """What the leaderboard says of a model, but who submits it."""
    summary = benchmark.summaries[model]
    parameters, paths = summary["parameters"], [Path(path) for path in summary["cases"].values()]
    facts = {name: summary["attacks"][name] for name in ROSTER if name in summary["attacks"]}
    benchmark.worst_cases["roster"] = _ranked(facts)

    def scored(row: str, **more: Any) -> dict[str, Any]:
        values = benchmark.case_values(model, row, "dsc").values()
        return {**more, "dsc": mean(values), "interval": interval(values)}

    told = ("threat_model", "budget", "value")
    attacks = {name: scored(name, **{key: each[key] for key in told}) for name, each in facts.items()}
    worst = min(_ranked(facts), key=lambda name: attacks[name]["dsc"])
    files = sorted(sorted(each.items()) for each in _hashes(benchmark, model).values())
    demo = any("demo_cohort" in os.fspath(path) or path.name.startswith("demo_") for path in paths)
    name = data or "/".join(paths[0].parts[-3:-1])
    return {
        **{"model": model, "description": summary["description"], "version": summary["versions"]["monai_vafa"]},
        "data": {"name": name, "sha256": _hash(files), "cases": len(paths), "demo": demo},
        "weights_sha256": parameters["target"]["checkpoint_sha256"],
        "setting": _hash([[_made(each) for each in facts.values()], parameters["segmentation_metrics"]["dsc"]]),
        **{"clean": scored(CLEAN), "worst_attack": scored(worst, attack=worst), "worst_case": scored("roster")},
        "attacks": attacks,
        "minutes": round(sum(float(row["seconds"]) for row in benchmark.cases[model]) / 60, 1),
    }


def _hash(content: Any) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _key(entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What tells entries apart; those that share the first two can be compared."""
    return entry["data"]["sha256"], entry["setting"], entry["model"], entry["weights_sha256"]


def _write_page(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    def cells(scores: Iterable[Mapping[str, Any]]) -> list[str]:
        return [cell_with_interval("dsc", score["dsc"], score["interval"]) for score in scores]

    sections, demo, threats = [], [], {}
    for (data_hash, setting), group in groupby(entries, lambda entry: _key(entry)[:2]):
        shown = list(group)
        data, rows, under = shown[0]["data"], [_HEADER], [["attack", "budget", *(e["model"] for e in shown)]]
        for i, e in enumerate(shown, 1):
            worst, single, clean = cells(e[score] for score in _SCORES)
            told = [f"{e['minutes']:g}", e["weights_sha256"][:12], e["version"]]
            rows.append([str(i), e["model"], worst, e["worst_attack"]["attack"], single, clean, *told])
        for name, facts in shown[0]["attacks"].items():
            budget = f"{facts['budget']} {facts['value']}" if facts["budget"] else "none"
            under.append([name, budget, *cells(e["attacks"][name] for e in shown)])
            threats[f"{name} ({budget})"] = facts["threat_model"]
        note = f"DSC in percent ± half of its 95 % interval over cases. Data {data_hash[:12]}, setting {setting[:12]}."
        notes = [f"{e['model']}: {e['reference']}. {e['description']}" for e in shown]
        tables = [Table("", rows, [*notes, note], labels=2)]
        tables.append(Table("DSC under each attack", under, labels=2))
        if data["demo"]:
            demo.append(f"{data['name']} is demo data: its ranks show how this page works and prove nothing.")
        title = f"{data['name']}, {data['cases']} cases{', demo data' if data['demo'] else ''}"
        sections.append(Section(title, tables))
    publish(
        folder,
        title="Leaderboard of robust segmentation",
        description="Ranked by the worst case: on each case the DSC under the attack of the roster that left the "
        "lowest. Ranks hold on the same data and setting only. The result files passed these rules, see "
        f"docs/leaderboard.md: {', '.join(RULES)}. Attacks are bounds from above: a better one may leave less.",
        doubts=list(dict.fromkeys(demo)),
        sections=sections,
        runs={},
        threats=threats,
        files={FILE: "all of this for programs to read, with whole hashes"},
    )
