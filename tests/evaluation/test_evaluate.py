# SPDX-License-Identifier: Apache-2.0
"""Typed results for Python users."""

from __future__ import annotations

import csv
import dataclasses

import pytest
import torch
from monai.metrics import compute_dice
from monai.networks import one_hot

from monai_vafa.attacks import EraseClass, ProjectedGradientDescent
from monai_vafa.evaluation import attack_case, evaluate
from monai_vafa.evaluation.case import make_settings

ATTACKS = {"quantize_only": {}, "pgd": {"steps": 1, "restarts": 1}}


def test_results_are_typed_and_hold_the_volumes(target, metrics, datalist):
    results = list(evaluate(target(), ATTACKS, datalist[:2], **metrics))
    assert [(r.case, r.attack) for r in results] == [
        (f"case{i}", attack) for i in range(2) for attack in ("clean", *ATTACKS)
    ]
    clean, _, attacked = results[:3]
    assert attacked.scores["dsc"] < clean.scores["dsc"] + 1
    assert attacked.visibility["linf"] == pytest.approx(4, abs=0.01)
    assert attacked.visibility["lpips"] is None
    assert (clean.changed_voxel_rate, attacked.steps) == (0, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attacked.case = "other"
    volumes = attacked.volumes
    assert volumes.adversarial.shape == volumes.image.shape == (1, 16, 16, 20)
    pair = (one_hot(volume[None], 3) for volume in (volumes.prediction, volumes.label))
    expected = compute_dice(*pair)[0]
    assert [attacked.per_class[name]["dsc"] for name in ("background", "a", "b")] == pytest.approx(expected.tolist())


def test_volumes_need_not_be_kept(target, metrics, datalist):
    assert all(r.volumes is None for r in evaluate(target(), ["gn"], datalist[:1], keep_volumes=False, **metrics))


def test_an_unlabelled_case_is_compared_with_the_clean_answer(target, metrics, datalist):
    from .conftest import preprocessing

    case = {"image": datalist[0]["image"]}
    clean, noisy = evaluate(target(transform=preprocessing("image")), {"gn": {"sigma": 64}}, [case], **metrics)
    assert clean.scores["dsc"] == 1 > noisy.scores["dsc"]


def test_attacks_that_are_built_already(target, metrics, datalist):
    attack = ProjectedGradientDescent(eps=8, steps=1, targeted=True)
    _, attacked = evaluate(target(), {"mine": attack}, datalist[:1], aim=EraseClass(1), **metrics)
    assert attacked.visibility["linf"] == pytest.approx(8, abs=0.01)
    with pytest.raises(ValueError, match="'mine' is targeted, so aim must say"):
        next(evaluate(target(), {"mine": attack}, datalist[:1], **metrics))


def test_the_unit_of_work_depends_on_its_arguments_alone(target, metrics, datalist):
    """Any process may do it: rows in any order, cases in any order, the same results."""
    tiny = target()
    settings = make_settings(tiny, aim=None, **metrics)
    attacks = {"pgd": ProjectedGradientDescent(steps=1), "gn": ProjectedGradientDescent(steps=1, seed=3)}

    def rows(case, names):
        made = attack_case(tiny, datalist[case], attacks, settings, name=f"case{case}", rows=names)
        return {scores.attack: (repr(dataclasses.replace(scores, seconds=0)), volumes) for scores, volumes in made}

    together = rows(0, None)
    rows(1, None)
    alone = {name: rows(0, [name])[name] for name in reversed(together)}
    for name, (scores, volumes) in together.items():
        assert alone[name][0] == scores
        assert torch.equal(alone[name][1].adversarial, volumes.adversarial)


def test_rows_are_those_of_the_files(evaluator, target, metrics, datalist, tmp_path):
    evaluator(attacks=ATTACKS).run()
    results = list(evaluate(target(), ATTACKS, datalist, **metrics))
    with open(tmp_path / "out" / "cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results)
    for row, result in zip(rows, results, strict=True):
        of_clean = [] if result.attack == "clean" else ["unstable_logits", "inner_gradients"]
        assert list(row) == [*result.case_row, *of_clean]
        assert float(row["dsc"]) == pytest.approx(result.scores["dsc"], rel=1e-5)
