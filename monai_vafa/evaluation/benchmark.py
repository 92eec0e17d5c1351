# SPDX-License-Identifier: Apache-2.0
"""Many attacks, at many budgets, on several models, and what transfers from one model to another."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from monai_vafa.atomic import remove_partial_files
from monai_vafa.attacks.checks import check_flag
from monai_vafa.data.paths import check_path
from monai_vafa.results.files import check_known, folder_lock, inside, same_name, write_json
from monai_vafa.results.schema import BENCHMARK, BenchmarkFile
from monai_vafa.target import Target
from monai_vafa.target.ensemble import Ensemble

from .case import Judges, Metrics
from .evaluator import AttackEvaluator
from .record import raise_failures, root_cause, status_kept
from .rows import Aim, AttackRows, Attacks
from .transfer import Transfer

logger = logging.getLogger("monai_vafa.evaluation")

_PUBLISHED = ("synapse", "acdc")


class Benchmark:
    """
    Runs the same attacks on several models and writes::

        OUTPUT/MODEL/         result folder of each model, see :class:`AttackEvaluator`
        OUTPUT/transfer.csv   each model's adversarial volumes as the other models see them, see :class:`Transfer`
        OUTPUT/benchmark.json what the rows are and which of them belong together

    A second run goes on where the first one ended. A model that fails is recorded and the others go on.

    Args:
        targets: model name -> model under attack.
        attacks: attacks to run, with their variations, see :class:`AttackRows`.
        cases: model name -> image and label files; ``None`` for each target's own.
        output_dir: folder of the benchmark.
        transfer: whether to show the volumes of the attacks, without their variations, to the other models.
        ensembles: name -> models, at least two: the mean of their logits is one more model under attack, and transfer
            shows its volumes to the models that are left out, of which the attacker knows nothing (see
            :class:`~monai_vafa.target.ensemble.Ensemble`). A list of models makes one ensemble, ``"ensemble"``.
        worst_cases: name of a group -> attacks, of which the report takes the worst for each case.
        checklist: whether the report examines the attacks themselves, as a referee would.
        checklist_roles: role in that examination -> name of an attack; ``"huge_budget"`` -> a budget.
        published: published results that the report prints beside, ``"synapse"`` or ``"acdc"``; ``None`` for none.
        hardened: model name -> its network and what it was trained against, e.g. ``("unetr", "vafa_fr")``, or
            ``"clean"`` for the model that was not hardened. The report compares these models, as Table 2 of the paper.
        description: a line on models and data.
        segmentation_metrics, visibility_metrics, aim, success_threshold: see :class:`AttackEvaluator`.

    Attributes:
        evaluators: model name -> its evaluator.
        failed: what failed -> error.

    Raises:
        TypeError: If ``transfer`` or ``checklist`` is not a bool.
        ValueError: If there are no targets, a name is unknown, or ``hardened`` does not tell its models apart.
    """

    def __init__(
        self,
        *,
        targets: Mapping[str, Target],
        attacks: Attacks,
        output_dir: str | os.PathLike,
        cases: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        transfer: bool = True,
        ensembles: Mapping[str, Sequence[str]] | Sequence[str] = (),
        worst_cases: Mapping[str, Sequence[str]] | None = None,
        checklist: bool = False,
        checklist_roles: Mapping[str, Any] | None = None,
        published: str | None = None,
        hardened: Mapping[str, Sequence[str]] | None = None,
        description: str = "",
        segmentation_metrics: Metrics | None = None,
        visibility_metrics: Judges | None = None,
        aim: Aim | None = None,
        success_threshold: float = 0.5,
    ) -> None:
        if not targets:
            raise ValueError("targets is empty: name at least one model.")
        if not isinstance(ensembles, Mapping):
            ensembles = {"ensemble": ensembles} if ensembles else {}
        for name, members in ensembles.items():
            if name in targets or not all(member in targets for member in members):
                known = ", ".join(targets)
                raise ValueError(f"ensembles[{name!r}]={members!r} must have another name, and models, of {known}.")
            targets = {**targets, name: cast(Target, Ensemble(name, {each: targets[each] for each in members}))}
            cases = None if cases is None else {**cases, name: cases[members[0]]}
        folders = ["figures", *targets]
        if two := same_name(folders):
            raise ValueError(
                f"targets names {folders[two[1]]!r} twice, but for letter case, or 'figures', where figures go: their "
                "folders would be the same."
            )
        if published not in (None, *_PUBLISHED):
            raise ValueError(f"published={published!r} must be None or one of {_PUBLISHED}.")
        _check_hardened(hardened or {}, targets)
        rows = AttackRows.of(attacks)
        roles = dict(checklist_roles or {}) if check_flag("checklist", checklist) else {}
        groups = {group: list(names) for group, names in (worst_cases or {}).items() if names}
        named = {f"worst_cases[{group!r}]": names for group, names in groups.items()}
        named["checklist_roles"] = [name for name in roles.values() if isinstance(name, str)]
        for place, names in named.items():
            check_known(place, names, rows.attacks, "the attacks ")
        check_flag("transfer", transfer)
        folder = Path(check_path("output_dir", output_dir))
        self.evaluators = {
            name: AttackEvaluator(
                target=target,
                attacks=rows,
                cases=None if cases is None else cases[name],
                output_dir=inside(folder, name),
                segmentation_metrics=segmentation_metrics,
                visibility_metrics=visibility_metrics,
                aim=aim,
                success_threshold=success_threshold,
                saved=rows.attacks,
            )
            for name, target in targets.items()
        }
        self.failed: dict[str, str] = {}
        self._file = folder / BENCHMARK
        self._transfer = Transfer(self.evaluators, rows.attacks, folder) if transfer else None
        self._facts = BenchmarkFile(
            status="running",
            description=description,
            models=list(targets),
            rows={name: asdict(row) for name, row in rows.rows.items()},
            worst_cases=groups,
            checklist=roles or None,
            published=published,
            hardened={model: list(made) for model, made in (hardened or {}).items()},
        )

    def run(self) -> None:
        """
        Run all that is missing, model by model, then the transfer.

        Raises:
            ValueError: If another run has the folder.
        """
        with folder_lock(self._file.parent):
            remove_partial_files(self._file.parent)
            self.failed.clear()
            with status_kept(lambda status: write_json(self._file, {**self._facts, "status": status}), self.failed):
                for name, evaluator in self.evaluators.items():
                    logger.info("model %s", name)
                    try:
                        evaluator.run()
                    except Exception as error:
                        logger.exception("%s failed; going on with the other models", name)
                        self.failed[name] = root_cause(error)
                    self.failed.update({f"{name}, {case}": error for case, error in evaluator.failed.items()})
                if self._transfer is not None:
                    self.failed.update(self._transfer.run())

    def raise_if_failed(self) -> None:
        """Make the process fail once everything that could be done has been written."""
        raise_failures("parts of the benchmark", self.failed)


def _check_hardened(hardened: Mapping[str, Sequence[str]], models: Mapping[str, Target]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for model, made in hardened.items():
        check_known("hardened", [model], models, "the models ")
        pair = isinstance(made, Sequence) and not isinstance(made, str) and len(made) == 2
        if not pair or not all(isinstance(name, str) for name in made):
            raise ValueError(f"hardened[{model!r}]={made!r} must be a network and what it was trained against.")
        if (other := seen.setdefault(tuple(made), model)) != model:
            raise ValueError(f"hardened[{model!r}] and hardened[{other!r}] are both {tuple(made)}: tell them apart.")
