# SPDX-License-Identifier: Apache-2.0
"""
What a referee asks of a robustness evaluation, answered from its numbers.

A weak attack makes a model look robust. The checks are those of Carlini et al., "On Evaluating Adversarial
Robustness" (https://arxiv.org/abs/1902.06705), and Athalye et al., "Obfuscated Gradients Give a False Sense of
Security" (ICML 2018), as far as result files can answer them. A failed check does not mean that the numbers are wrong;
it says which doubt remains.
"""

from __future__ import annotations

from pathlib import Path

from monai_vafa.results.files import read_rows, write_json
from monai_vafa.results.schema import COLUMNS, LABEL, METRICS, volume_name
from monai_vafa.results.statistics import mean

from .benchmark import HUGE_BUDGET, Benchmark
from .figures import load_volume
from .tables import Section, Table

_MASKED = "; gradients may be masked"
_ROUNDING = 1e-6  # points of DSC


def checklist_section(benchmark: Benchmark) -> Section:
    """A table per model, also written as ``checklist.json``; empty if the benchmark has no checklist."""
    if benchmark.checklist is None:
        return Section("Checklist", [])
    lines = {model: referee_checklist(benchmark, model) for model in benchmark.models}
    write_json(benchmark.folder / "checklist.json", lines)
    header = ["check", "verdict", "reason"]
    tables = [Table(model, [header, *(list(line.values()) for line in lines[model])], labels=3) for model in lines]
    return Section("Checklist", tables)


def referee_checklist(benchmark: Benchmark, model: str) -> list[dict[str, str]]:
    """Every check on one model: pass, fail or not applicable; the benchmark's ``checklist`` assigns the roles."""
    referee = _Referee(benchmark, model)
    lines = []
    for name, check in _CHECKS.items():
        try:
            passed, reason = check(referee)
            lines.append({"check": name, "verdict": "pass" if passed else "fail", "reason": reason})
        except _MissingEvidence as missing:
            lines.append({"check": name, "verdict": "not applicable", "reason": str(missing)})
    return lines


def chance_dsc(benchmark: Benchmark, model: str) -> float | None:
    """
    DSC, in percent, of labels guessed at random with the class frequencies of the reference.

    If class c makes up a share p_c of n voxels, a guess hits n p_c^2 of the n p_c voxels of either map: a Dice of p_c.
    Where classes exclude each other, the p_c add up to 1, so the mean over C classes is 1 / C. Those of sigmoid outputs
    are counted in the saved labels, and averaged over the classes of each case; ``None`` if there are none.
    """
    summary = benchmark.summaries[model]
    classes = summary.get("class_names", [])
    if summary.get("activation") == "sigmoid":
        return mean([_counted(benchmark.folder / model, case) for case in summary.get("cases", ())])
    rows = read_rows(benchmark.folder / model / METRICS)
    scored = {row["class"] for row in rows if row.get("dsc")} & set(classes)
    return 100 / len(scored) if scored else None


def _counted(folder: Path, case: str) -> float | None:
    """Mean share, in percent, of the classes that a saved label of a sigmoid model has."""
    path = folder / volume_name("predictions", case, LABEL)
    if not path.is_file():
        return None
    shares = load_volume(path).astype(bool).mean((0, 1, 2))
    return 100 * float(shares[shares > 0].mean()) if shares.any() else None


class _MissingEvidence(Exception):
    """A check can't be made; the message says what is needed."""


class _Referee:
    """The checks on one model: whether it passes, and why. A missing number raises with the way to get it."""

    def __init__(self, benchmark: Benchmark, model: str) -> None:
        self.benchmark, self.model = benchmark, model
        self.roles = benchmark.checklist or {}

    def role(self, role: str) -> str:
        """Name of the row that plays a role."""
        if not (name := self.roles.get(role)):
            raise _MissingEvidence(f"name a row for the role {role!r} in the checklist.")
        return name

    def mean(self, row: str, column: str) -> float:
        """Mean of a column of ``cases.csv``."""
        if (value := self.benchmark.value(self.model, row, column)) is None:
            raise _MissingEvidence(f"{row} has no {COLUMNS[column].header} for {self.model}; run it again.")
        return value

    def dsc(self, row: str) -> float:
        """Mean DSC of a row, in percent."""
        return 100 * self.mean(row, "dsc")

    def lead(self, name: str, row: str, how: str = "") -> tuple[float, str]:
        """How much DSC an attack leaves above that of another row, in words too."""
        ours, theirs = self.dsc(name), self.dsc(row)
        return ours - theirs, f"{name} reaches DSC {ours:.2f}, {row}{how} {theirs:.2f}"

    def size(self, attack: str) -> tuple[str, float]:
        """The parameter that bounds an attack, and its value in the base row."""
        parameter = self.benchmark.budget(attack)
        value = self.benchmark.base_value(attack, parameter)
        if parameter is None or not isinstance(value, (int, float)):
            raise _MissingEvidence(f"the budget of {attack} is not known; run a model to its end.")
        return parameter, value

    def sweep(self, attack: str) -> list[tuple[float, str]]:
        """``(budget, row)`` of an attack by rising budget."""
        return self.benchmark.sweep(attack, self.size(attack)[0])

    def same_size(self, role: str) -> tuple[str, str, str]:
        """The iterative attack, the row of a role's attack that has the same budget, and this budget as text."""
        name, other = self.role("iterative"), self.role(role)
        (parameter, size), (its_parameter, its_size) = self.size(name), self.size(other)
        row = next((row for value, row in self.sweep(other) if value == size), None)
        if row is None:
            raise _MissingEvidence(
                f"{name} has {parameter} {size:g} and {other} {its_parameter} {its_size:g}; give them the same, "
                f"or sweep the {its_parameter} of {other} over {size:g} too."
            )
        return name, row, f"{parameter} {size:g}"

    def beats_single_step(self) -> tuple[bool, str]:
        name, row, size = self.same_size("single_step")
        lead, told = self.lead(name, row)
        return lead <= 0, f"{told}, both at {size}."

    def converged(self) -> tuple[bool, str]:
        name = self.role("iterative")
        steps = self.benchmark.base_value(name, "steps")
        rows = self.benchmark.sweep(name, "steps")
        twice = next((row for value, row in rows if steps is not None and value == 2 * steps), None)
        if twice is None:
            raise _MissingEvidence(f"sweep the steps of {name} to twice those of its base row.")
        base, more = self.dsc(name), self.dsc(twice)
        good = abs(base - more) <= 1 + _ROUNDING
        advice = "" if good else f"; {name} has not converged: use more steps"
        return good, f"{steps} steps reach DSC {base:.2f}, {2 * steps} steps {more:.2f}{advice}."

    def grows(self) -> tuple[bool, str]:
        name = self.role("iterative")
        points = [(value, self.dsc(row)) for value, row in self.sweep(name)]
        if len(points) < 2:
            raise _MissingEvidence(f"sweep the budget of {name}.")
        curve = ", ".join(f"{value:g}: {dsc:.2f}" for value, dsc in points)
        rise = max(dsc - min(d for _, d in points[: i + 1]) for i, (_, dsc) in enumerate(points))
        return rise <= 0.5 + _ROUNDING, f"DSC under {name} by budget: {curve}; it rises by {rise:.2f} at most."

    def reaches_chance(self) -> tuple[bool, str]:
        name = self.role("iterative")
        if (huge := self.roles.get(HUGE_BUDGET)) is None:
            raise _MissingEvidence(f"name a {HUGE_BUDGET} in the checklist, e.g. half the intensity scale, 128.")
        scores = {value: self.dsc(row) for value, row in self.sweep(name)}
        if huge not in scores:
            raise _MissingEvidence(f"add {huge} to the budgets over which {name} is swept.")
        if (chance := chance_dsc(self.benchmark, self.model)) is None:
            raise _MissingEvidence("no DSC of a class in metrics.csv, or no saved label; run the model again.")
        reason = f"{name} at {huge} reaches DSC {scores[huge]:.2f}; guessing at random gives {chance:.2f}."
        return scores[huge] <= chance, reason

    def beats_noise(self) -> tuple[bool, str]:
        name = self.role("iterative")
        moved = self.mean(name, "rmse")
        # Noise of the same nominal size may come out smaller, since clipping takes more of it.
        rows = [row for _, row in self.sweep(self.role("noise"))]
        row = next((row for row in rows if self.mean(row, "rmse") >= moved), rows[-1])
        attacked, noisy, size = self.dsc(name), self.dsc(row), self.mean(row, "rmse")
        told = f"{name} reaches DSC {attacked:.2f} at RMSE {moved:.2f}, {row} {noisy:.2f} at {size:.2f}"
        if size < moved and attacked < noisy:
            raise _MissingEvidence(f"{told}: the noise is smaller; sweep it to a larger sigma.")
        return attacked < noisy, f"{told}."

    def beats_quantizing(self) -> tuple[bool, str]:
        lead, told = self.lead(self.role("frequency"), self.role("quantize"))
        return lead < 0, f"{told}."

    def beats_transfer(self) -> tuple[bool, str]:
        name, good, told = self.role("iterative"), True, []
        for source in self.benchmark.models:
            scores = self.benchmark.transferred(source, self.model, name)
            own, other = self.benchmark.white_box(self.model, name, scores), mean(scores.values())
            if source != self.model and own is not None and other is not None:
                good &= 100 * (own - other) <= 0.5 + _ROUNDING
                told.append(f"made on it {100 * own:.2f}, made on {source} {100 * other:.2f}")
        if not told:
            raise _MissingEvidence(f"benchmark a second model and transfer {name} between them.")
        return good, f"DSC under {name}: {'; '.join(told)}{'' if good else _MASKED}."

    def beats_gradient_free(self) -> tuple[bool, str]:
        name, row, size = self.same_size("gradient_free")
        lead, told = self.lead(name, row, " without gradients")
        good = lead <= 0.5 + _ROUNDING
        return good, f"{told}, both at {size}{'' if good else _MASKED}."

    def random_starts(self) -> tuple[bool, str]:
        name = self.role("iterative")
        seeds = [row for _, row in self.benchmark.sweep(name, "seed") if row != name]
        if not seeds:
            raise _MissingEvidence(f"sweep the seed of {name}.")
        scores = [self.dsc(row) for row in (name, *seeds)]
        spread = max(scores) - min(scores)
        return spread <= 1 + _ROUNDING, f"{len(scores)} seeds of {name}: DSC {min(scores):.2f} to {max(scores):.2f}."


_CHECKS = {
    "iterative beats single step": _Referee.beats_single_step,
    "doubling the steps changes nothing more": _Referee.converged,
    "success grows with the budget": _Referee.grows,
    "a huge budget reaches chance": _Referee.reaches_chance,
    "more than noise that is no smaller": _Referee.beats_noise,
    "more than quantising alone": _Referee.beats_quantizing,
    "white box beats transfer": _Referee.beats_transfer,
    "white box beats gradient-free": _Referee.beats_gradient_free,
    "several random starts agree": _Referee.random_starts,
}
