# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import pytest

from monai_vafa.attacks import QuantizeOnly, VolumetricFrequencyAttack
from monai_vafa.evaluation import AttackRows, join_sweeps

ATTACKS = {"quantize_only": QuantizeOnly, "vafa": partial(VolumetricFrequencyAttack, block_size=8, steps=2)}


def test_variations_follow_the_base_attacks():
    rows = AttackRows(
        attacks=ATTACKS, sweeps={"vafa": {"q_max": [10, 30.5], "steps": [4]}, "quantize_only": {"q": [8]}}
    )
    made = rows.build()
    assert rows.attacks == ["quantize_only", "vafa"]
    names = ["quantize_only", "vafa", "vafa-q_max10", "vafa-q_max30.5", "vafa-steps4", "quantize_only-q8"]
    assert list(made) == list(rows.rows) == names
    assert (made["vafa-q_max30.5"].q_max, made["vafa-q_max30.5"].steps, made["vafa-q_max30.5"].block_size) == (
        30.5,
        2,
        8,
    )
    assert (made["vafa-steps4"].q_max, made["vafa-steps4"].steps) == (20, 4)
    row = rows.rows["vafa-steps4"]
    assert (row.attack, row.parameter, row.value) == ("vafa", "steps", 4)
    assert rows.budgets == {"vafa": "q_max", "quantize_only": "q"}
    assert rows.values == {"vafa": {"q_max": 20.0, "steps": 2}, "quantize_only": {"q": 20.0}}


def test_a_value_of_the_base_attack_is_not_run_twice():
    rows = AttackRows(attacks=ATTACKS, sweeps={"vafa": {"q_max": [20, 30, 30.0], "steps": [2]}})
    assert list(rows.rows) == ["quantize_only", "vafa", "vafa-q_max30"]
    assert rows.values["vafa"] == {"q_max": 20.0, "steps": 2}


def test_common_parameters_are_for_attacks_that_do_not_set_them():
    attacks = {**ATTACKS, "own": partial(VolumetricFrequencyAttack, seed=3)}
    rows = AttackRows(attacks=attacks, sweeps={"vafa": {"seed": [2]}}, seed=1, progress=True)
    made = rows.build(intensity_range=(-1, 2))
    assert {name: attack.seed for name, attack in made.items()} == {
        "quantize_only": 1,
        "vafa": 1,
        "own": 3,
        "vafa-seed2": 2,
    }
    assert all(attack.progress and attack.intensity_range == (-1, 2) for attack in made.values())
    assert rows.build(intensity_range=None)["vafa"].intensity_range is None
    assert rows.values == {"vafa": {"seed": 1}}


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        ({"pgd": {"eps": [1]}}, "'pgd', which is none of the attacks quantize_only, vafa"),
        ({"vafa": {"eps": [1]}}, r"sweeps\['vafa'\] names 'eps', which is none of .*q_max"),
        ({"vafa": {"q_max": ["10"]}}, "holds '10', which is no number"),
    ],
)
def test_unknown_names_are_refused(sweeps, message):
    with pytest.raises(ValueError, match=message):
        AttackRows(attacks=ATTACKS, sweeps=sweeps)


def test_values_that_the_attack_refuses_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match="q_max=3"):
        AttackRows(attacks=ATTACKS, sweeps={"vafa": {"q_max": [3]}}).build()


def test_attacks_that_are_built_already_are_refused():
    with pytest.raises(TypeError, match='"_mode_": "callable"'):
        AttackRows(attacks={"quantize_only": QuantizeOnly()})


def test_sweeps_are_joined():
    joined = join_sweeps({"a": {"eps": [1, 2]}}, {"a": {"eps": [2, 9], "steps": [3]}, "b": {"q": [1]}}, {})
    assert joined == {"a": {"eps": [1, 2, 9], "steps": [3]}, "b": {"q": [1]}}
