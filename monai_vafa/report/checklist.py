# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""
What a referee asks of a robustness evaluation, answered from its numbers.

A weak attack makes a model look robust. The checks are those of Carlini et al., "On Evaluating Adversarial
Robustness" (https://arxiv.org/abs/1902.06705), and Athalye et al., "Obfuscated Gradients Give a False Sense of
Security" (ICML 2018), as far as they can be read off result files. A check that fails does not say that the
numbers are wrong, but which doubt they leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_vafa.results.files import read_rows

from .benchmark import Benchmark
from .evidence import NOT_APPLICABLE, Evidence, Line, MissingEvidence, verdict

__all__ = ["ROLES", "chance_dsc", "check_roles", "referee_checklist"]

# roles that name a row, and the number that is one
ROLES = ("iterative", "single_step", "gradient_free", "noise", "quantize", "frequency")
_HUGE = "huge_budget"
_MASKED = "gradients may be masked"


def check_roles(roles: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    """
    Refuse a checklist that names what is not there.

    Args:
        roles: role -> name of a base row; ``huge_budget`` -> a budget.
        rows: rows of the benchmark.

    Raises:
        ValueError: When a role, or the row it names, is unknown.
    """
    for role, name in roles.items():
        if role not in (*ROLES, _HUGE):
            raise ValueError(f"checklist role {role!r} is none of {', '.join((*ROLES, _HUGE))}.")
        if role != _HUGE and name not in rows:
            raise ValueError(f"checklist[{role!r}] names {name!r}, which is none of {', '.join(rows)}.")


def referee_checklist(benchmark: Benchmark, model: str) -> list[Line]:
    """
    Every check on one model.

    Args:
        benchmark: what was read; its ``checklist`` says which row plays which role.
        model: name of the model.

    Returns:
        ``{"check", "verdict", "reason"}`` per check; the verdict is pass, fail or not applicable.

    Raises:
        ValueError: see :func:`check_roles`.
    """
    check_roles(benchmark.checklist or {}, benchmark.rows)
    evidence = Evidence(benchmark, model)
    lines = []
    for name, check in _CHECKS.items():
        try:
            result, reason = check(evidence)
        except MissingEvidence as missing:
            result, reason = NOT_APPLICABLE, str(missing)
        lines.append({"check": name, "verdict": result, "reason": reason})
    return lines


def chance_dsc(benchmark: Benchmark, model: str) -> float | None:
    """
    DSC, in percent, of labels guessed at random with the class frequencies of the reference.

    With p_c the share of class c, a guess hits n p_c^2 of the n p_c voxels of either map, so its Dice is
    2 n p_c^2 / (2 n p_c) = p_c. The p_c add up to 1, so the mean over C classes is 1 / C.

    Args:
        benchmark: what was read.
        model: name of the model.

    Returns:
        100 / C, with C the classes that have a DSC in ``metrics.csv``; ``None`` when there are none.
    """
    classes = benchmark.summaries[model].get("class_names", [])
    rows = read_rows(benchmark.folder / model / "metrics.csv")
    scored = {row["class"] for row in rows if row.get("dsc")} & set(classes)
    return 100 / len(scored) if scored else None


def _beats_single_step(e: Evidence) -> tuple[str, str]:
    name, one = e.role("iterative"), e.role("single_step")
    size, row = e.same_size(one)
    many, single = e.dsc(name), e.dsc(row)
    return verdict(many <= single), f"{name} reaches DSC {many:.2f}, {row} {single:.2f}, both at {size}."


def _converged(e: Evidence) -> tuple[str, str]:
    name = e.role("iterative")
    steps = e.benchmark.base_value(name, "steps")
    rows = e.benchmark.sweep(name, "steps")
    twice = next((row for value, row in rows if steps is not None and value == 2 * steps), None)
    if twice is None:
        raise MissingEvidence(f"sweep the steps of {name} to twice those of its base row.")
    base, more = e.dsc(name), e.dsc(twice)
    good = _within(abs(base - more), 1)
    advice = "" if good else f"; {name} has not converged: use more steps"
    return verdict(good), f"{steps} steps reach DSC {base:.2f}, {2 * steps} steps {more:.2f}{advice}."


def _grows(e: Evidence) -> tuple[str, str]:
    name, points = e.budget_points()
    if len(points) < 2:
        raise MissingEvidence(f"sweep the budget of {name}.")
    curve = ", ".join(f"{value:g}: {dsc:.2f}" for value, dsc in points)
    rise = max(dsc - min(d for _, d in points[: i + 1]) for i, (_, dsc) in enumerate(points))
    return verdict(_within(rise, 0.5)), f"DSC under {name} by budget: {curve}; it rises by {rise:.2f} at most."


def _reaches_chance(e: Evidence) -> tuple[str, str]:
    name, points = e.budget_points()
    if (huge := (e.benchmark.checklist or {}).get(_HUGE)) is None:
        raise MissingEvidence(f"name a {_HUGE} in the checklist, e.g. half the gray values, 128.")
    dsc = next((dsc for value, dsc in points if value == huge), None)
    if dsc is None:
        raise MissingEvidence(f"add {huge} to the budgets over which {name} is swept.")
    if (chance := chance_dsc(e.benchmark, e.model)) is None:
        raise MissingEvidence("metrics.csv has no DSC of a class; run the model again.")
    return verdict(dsc <= chance), f"{name} at {huge} reaches DSC {dsc:.2f}; guessing at random gives {chance:.2f}."


def _beats_noise(e: Evidence) -> tuple[str, str]:
    name = e.role("iterative")
    moved = e.rmse(name)
    # Noise of the same nominal size may come out smaller, since clipping takes more of it.
    rows = e.sweep(e.role("noise"))
    row = next((row for row in rows if e.rmse(row) >= moved), rows[-1])
    attacked, noisy = e.dsc(name), e.dsc(row)
    told = f"{name} reaches DSC {attacked:.2f} at RMSE {moved:.2f}, {row} {noisy:.2f} at {e.rmse(row):.2f}"
    if e.rmse(row) < moved and attacked < noisy:
        raise MissingEvidence(f"{told}: the noise is smaller; sweep it to a larger sigma.")
    return verdict(attacked < noisy), f"{told}."


def _beats_quantizing(e: Evidence) -> tuple[str, str]:
    name, control = e.role("frequency"), e.role("quantize")
    attacked, quantized = e.dsc(name), e.dsc(control)
    return verdict(attacked < quantized), f"{name} reaches DSC {attacked:.2f}, {control} {quantized:.2f}."


def _beats_transfer(e: Evidence) -> tuple[str, str]:
    name = e.role("iterative")
    pairs = e.transferred(name)
    if not pairs:
        raise MissingEvidence(f"benchmark a second model and transfer {name} between them.")
    good = all(_within(own - other, 0.5) for _, own, other in pairs)
    told = "; ".join(f"made on it {own:.2f}, made on {source} {other:.2f}" for source, own, other in pairs)
    return verdict(good), f"DSC under {name}: {told}{'' if good else '; ' + _MASKED}."


def _beats_gradient_free(e: Evidence) -> tuple[str, str]:
    name, free = e.role("iterative"), e.role("gradient_free")
    size, row = e.same_size(free)
    white, black = e.dsc(name), e.dsc(row)
    good = _within(white - black, 0.5)
    told = f"{name} reaches DSC {white:.2f}, {row} without gradients {black:.2f}, both at {size}"
    return verdict(good), f"{told}{'' if good else '; ' + _MASKED}."


def _random_starts(e: Evidence) -> tuple[str, str]:
    name = e.role("iterative")
    seeds = [row for _, row in e.benchmark.sweep(name, "seed") if row != name]
    if not seeds:
        raise MissingEvidence(f"sweep the seed of {name}.")
    scores = [e.dsc(row) for row in (name, *seeds)]
    spread = max(scores) - min(scores)
    return verdict(_within(spread, 1)), f"{len(scores)} seeds of {name}: DSC {min(scores):.2f} to {max(scores):.2f}."


def _within(points: float, limit: float) -> bool:
    """At most the limit, but for rounding."""
    return points <= limit + 1e-6


_CHECKS = {
    "iterative beats single step": _beats_single_step,
    "doubling the steps changes nothing more": _converged,
    "success grows with the budget": _grows,
    "a huge budget reaches chance": _reaches_chance,
    "more than noise that is no smaller": _beats_noise,
    "more than quantising alone": _beats_quantizing,
    "white box beats transfer": _beats_transfer,
    "white box beats gradient-free": _beats_gradient_free,
    "several random starts agree": _random_starts,
}
