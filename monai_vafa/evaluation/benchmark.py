# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Many attacks, at many budgets, on several models, and what transfers from one model to another."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_vafa.attacks.base import check_flag
from monai_vafa.results.files import write_json

from .checks import root_cause
from .evaluation import AttackEvaluation
from .rows import AttackRows
from .transfer import Transfer

__all__ = ["Benchmark"]

logger = logging.getLogger(__name__)

_PUBLISHED = ("synapse", "acdc")


class Benchmark:
    """
    Runs the same attacks on several models and writes::

        OUTPUT/MODEL/         result folder of each model, see :class:`AttackEvaluation`
        OUTPUT/transfer.csv   each model's adversarial volumes as the other models see them, see :class:`Transfer`
        OUTPUT/benchmark.json what the rows are and which of them belong together

    A second run goes on where the first one ended. A model that fails is recorded and the others go on.

    Args:
        evaluations: model name -> its evaluation, with the attacks of ``rows``, writing into ``output_dir/MODEL``.
        rows: attacks and their variations.
        output_dir: folder of the benchmark.
        transfer: whether to show the base attacks' volumes to the other models.
        worst_cases: name of a group -> base attacks, of which the report takes the worst for each case.
        checklist: whether the report shall examine the attacks themselves (do more steps or larger budgets help, do
            seeds agree).
        checklist_roles: role in that examination -> name of a base attack; ``"huge_budget"`` -> a budget.
        published: name of the published results that the report prints beside, ``"synapse"`` or ``"acdc"``;
            ``None`` for none.
        hardened: model name -> its network and what it was trained against, e.g. ``("unetr", "vafa_fr")``, or
            ``"clean"`` for the model that was not hardened. The report compares these models, as Table 2 of the paper;
            names as there get its numbers beside.
        description: a line on models and data.

    Attributes:
        failed: what failed -> error.

    Raises:
        TypeError: When ``transfer`` or ``checklist`` is no bool.
        ValueError: When evaluations and rows do not fit together, a name is unknown, or ``hardened`` does not tell
            its models apart.
    """

    def __init__(
        self,
        *,
        evaluations: Mapping[str, AttackEvaluation],
        rows: AttackRows,
        output_dir: str | os.PathLike,
        transfer: bool = True,
        worst_cases: Mapping[str, Sequence[str]] | None = None,
        checklist: bool = False,
        checklist_roles: Mapping[str, Any] | None = None,
        published: str | None = None,
        hardened: Mapping[str, Sequence[str]] | None = None,
        description: str = "",
    ) -> None:
        if not evaluations:
            raise ValueError("evaluations is empty: name at least one model.")
        for name, evaluation in evaluations.items():
            if evaluation.results.folder != (expected := Path(output_dir) / name):
                raise ValueError(f"output_dir of evaluations[{name!r}] is {evaluation.results.folder}, not {expected}.")
            if list(evaluation.attacks) != list(rows.rows):
                raise ValueError(f"evaluations[{name!r}] has other attacks than rows: build them with rows.build().")
        if published not in (None, *_PUBLISHED):
            raise ValueError(f"published={published!r} must be None or one of {_PUBLISHED}.")
        _check_hardened(hardened or {}, evaluations)
        roles = {} if not check_flag("checklist", checklist) else dict(checklist_roles or {})
        named = {f"worst_cases[{group!r}]": names for group, names in (worst_cases or {}).items()}
        named["checklist_roles"] = [name for name in roles.values() if isinstance(name, str)]
        for place, names in named.items():
            if unknown := [name for name in names if name not in rows.attacks]:
                raise ValueError(
                    f"{place} names {unknown[0]!r}, which is none of the attacks {', '.join(rows.attacks)}."
                )
        self.evaluations = dict(evaluations)
        self.failed: dict[str, str] = {}
        self._file = Path(output_dir) / "benchmark.json"
        self._transfer = None
        if check_flag("transfer", transfer):
            self._transfer = Transfer(evaluations=evaluations, attacks=rows.attacks, output_dir=output_dir)
        self._facts = {
            "description": description,
            "models": list(evaluations),
            "rows": {name: asdict(row) for name, row in rows.rows.items()},
            "budgets": rows.budgets,
            "values": rows.values,
            "worst_cases": {group: list(names) for group, names in (worst_cases or {}).items()},
            "checklist": roles or None,
            "published": published,
            "hardened": {model: list(made) for model, made in (hardened or {}).items()},
        }

    def run(self) -> None:
        """Do what is not done yet, model by model, then the transfer."""
        self._write("running")
        for name, evaluation in self.evaluations.items():
            logger.info("model %s", name)
            try:
                evaluation.run()
            except Exception as error:
                logger.exception("%s failed; going on with the other models", name)
                self.failed[name] = root_cause(error)
            self.failed.update({f"{name}, {case}": error for case, error in evaluation.failed.items()})
        if self._transfer is not None:
            self._transfer.run()
            self.failed.update(self._transfer.failed)
        self._write("failed" if self.failed else "complete")

    def raise_if_failed(self) -> None:
        """
        Make the process fail once everything that could be done has been written.

        Raises:
            RuntimeError: When models, cases or transfers failed; names them.
        """
        if self.failed:
            errors = "; ".join(f"{name}: {error}" for name, error in self.failed.items())
            raise RuntimeError(f"{len(self.failed)} parts of the benchmark failed: {errors}")

    def _write(self, status: str) -> None:
        write_json(self._file, {"status": status, **self._facts})


def _check_hardened(hardened: Mapping[str, Sequence[str]], models: Mapping[str, AttackEvaluation]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for model, made in hardened.items():
        if model not in models:
            raise ValueError(f"hardened names {model!r}, which is none of the models {', '.join(models)}.")
        pair = isinstance(made, Sequence) and not isinstance(made, str) and len(made) == 2
        if not pair or not all(isinstance(name, str) for name in made):
            raise ValueError(f"hardened[{model!r}]={made!r} must be a network and what it was trained against.")
        if (other := seen.setdefault(tuple(made), model)) != model:
            raise ValueError(f"hardened[{model!r}] and hardened[{other!r}] are both {tuple(made)}: tell them apart.")
