# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_vafa.attacks import (
    ROSTER,
    ProjectedGradientDescent,
    QuantizeOnly,
    RosterEntry,
    SliceFrequencyAttack,
    SliceSpectrumAdversarialAttack,
    SpectrumAdversarialAttack,
    VolumetricFrequencyAttack,
)
from monai_vafa.evaluation import AttackRows, join_sweeps, roster_sweeps

ATTACKS = {"quantize_only": {}, "vafa": {"steps": 2}}


def test_variations_follow_the_attacks(target):
    rows = AttackRows(ATTACKS, sweeps={"vafa": {"q_max": [10, 30.5], "steps": [4]}, "quantize_only": {"q": [8]}})
    made = rows.build(target())
    assert rows.attacks == ["quantize_only", "vafa"]
    names = ["quantize_only", "vafa", "vafa-q_max10", "vafa-q_max30.5", "vafa-steps4", "quantize_only-q8"]
    assert list(made) == list(rows.rows) == names
    assert (made["vafa-q_max30.5"].q_max, made["vafa-q_max30.5"].steps) == (30.5, 2)
    assert (made["vafa-steps4"].q_max, made["vafa-steps4"].steps) == (20, 4)
    row = rows.rows["vafa-steps4"]
    assert (row.attack, row.parameter, row.value) == ("vafa", "steps", 4)


def test_a_value_of_the_attack_is_not_run_twice():
    rows = AttackRows(ATTACKS, sweeps={"vafa": {"q_max": [20, 30, 30.0], "steps": [2]}})
    assert list(rows.rows) == ["quantize_only", "vafa", "vafa-q_max30"]


def test_rows_may_have_names_of_their_own_or_be_built_already(target):
    own = QuantizeOnly(block_size=4)
    made = AttackRows({"strong": {"attack": "pgd", "eps": 8}, "mine": own}).build(target())
    assert type(made["strong"]) is ProjectedGradientDescent
    assert made["strong"].eps == 8
    assert made["mine"] is own
    assert AttackRows("pgd").attacks == ["pgd"]  # as `--attacks pgd` comes from the command line


def test_common_parameters_are_for_attacks_that_do_not_set_them(target):
    attacks = {**ATTACKS, "own": {"attack": "vafa", "seed": 3}}
    rows = AttackRows(attacks, sweeps={"vafa": {"seed": [2]}}, common={"seed": 1, "progress": True})
    made = rows.build(target(intensity_range=(-1, 2)))
    assert {name: attack.seed for name, attack in made.items()} == {
        "quantize_only": 1,
        "vafa": 1,
        "own": 3,
        "vafa-seed2": 2,
    }
    assert all(attack.progress and attack.intensity_range == (-1, 2) for attack in made.values())
    assert rows.build(target(intensity_range=None))["vafa"].intensity_range is None


def test_the_whole_roster_fits_every_window(target):
    for window in ((8, 8, 8), (40, 40, 5), (-1, 64, 32)):
        for attack in (
            AttackRows(list(ROSTER), sweeps=roster_sweeps(list(ROSTER))).build(target(window=window)).values()
        ):
            attack.check_image((1, 1, *(side if side > 0 else 32 for side in window)))


def test_slices(target):
    """Axial slices have the slice-wise form of VAFA and SA2; elsewhere nothing is stretched slice by slice."""
    rows = AttackRows(["rescale_only", "vafa", "vafa2d", "sa2", "sa2_2d"])
    axial, sagittal, picture = (
        rows.build(target(window=window, slice_axis=axis))
        for window, axis in (((32, 32, 1), 2), ((1, 32, 32), 0), ((32, 24), None))
    )
    assert type(axial["vafa"]) is type(picture["vafa"]) is SliceFrequencyAttack
    assert type(axial["sa2"]) is type(picture["sa2"]) is SliceSpectrumAdversarialAttack
    assert (axial["vafa"].block_size, picture["vafa"].block_size) == ([32, 32], [32, 24])
    assert axial["sa2"].block_size == picture["sa2"].block_size == [16, 16]
    assert list(sagittal) == ["vafa", "vafa2d", "sa2", "sa2_2d"]
    for attack in sagittal.values():
        assert type(attack) in (VolumetricFrequencyAttack, SpectrumAdversarialAttack)
        assert attack.block_size in ([1, 32, 32], [1, 16, 16])
        assert not getattr(attack, "rescale_slices", False)


def test_attacks_of_users_have_blocks_within_slices_too(target, monkeypatch):
    class Mine(SliceFrequencyAttack):
        pass

    monkeypatch.setitem(ROSTER, "mine", RosterEntry("mine", Mine))
    mine = AttackRows(["mine"]).build(target(window=(32, 24, 16)))["mine"]
    assert mine.block_size == [32, 24]
    mine.check_image((1, 1, 32, 24, 16))


def test_controls_are_known_by_their_class():
    assert AttackRows(["gn", "pgd", "rescale_only"]).without_controls == ["pgd"]
    assert roster_sweeps(["pgd", "rescale_only"]) == {"pgd": {"eps": [2, 8]}}


@pytest.mark.parametrize(
    ("attacks", "sweeps", "message"),
    [
        (ATTACKS, {"pgd": {"eps": [1]}}, "'pgd', which is none of the attacks quantize_only, vafa"),
        (ATTACKS, {"vafa": {"eps": [1]}}, r"sweeps\['vafa'\] names 'eps', which is none of .*q_max"),
        (ATTACKS, {"vafa": {"q_max": ["10"]}}, "holds '10', which is not a number"),
        ({"mine": QuantizeOnly()}, {"mine": {"q": [10]}}, "sweeps names 'mine', which is built already"),
        ({"strong": {"eps": 8}}, {}, "'strong' is not in the roster"),
    ],
)
def test_unknown_names_are_refused(attacks, sweeps, message):
    with pytest.raises(ValueError, match=message):
        AttackRows(attacks, sweeps=sweeps)


def test_what_the_attack_refuses_is_refused_before_anything_runs(target):
    with pytest.raises(ValueError, match="q_max=3"):
        AttackRows(ATTACKS, sweeps={"vafa": {"q_max": [3]}}).build(target())
    with pytest.raises(TypeError, match="epsilon"):
        AttackRows({"pgd": {"epsilon": 3}}).build(target())
    with pytest.raises(TypeError, match=r"attacks\['pgd'\] must be parameters or an attack, not int"):
        AttackRows({"pgd": 3})


def test_sweeps_are_joined():
    joined = join_sweeps({"a": {"eps": [1, 2]}}, {"a": {"eps": [2, 9], "steps": [3]}, "b": {"q": [1]}}, {})
    assert joined == {"a": {"eps": [1, 2, 9], "steps": [3]}, "b": {"q": [1]}}
