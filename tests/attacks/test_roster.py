# SPDX-License-Identifier: Apache-2.0
"""The roster, and what it reads from the attacks."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import dataclass

import pytest
import torch
from monai.metrics import HausdorffDistanceMetric

from monai_vafa import attacks
from monai_vafa.attacks import ROSTER, Attack, AttackResult, RosterEntry, entry_of, register
from monai_vafa.attacks.base import constructor_parameters


@dataclass(kw_only=True, eq=False, repr=False)
class Brighten(Attack):
    """Make everything brighter."""

    control = True
    budget = "shift"

    shift: float = 4.0

    def _generate(self, objective, image):
        return AttackResult(image + self.shift / 255)


class Plain(Attack):
    """With a constructor of its own."""

    def __init__(self, *, strength: int = 3, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.strength = strength

    def _generate(self, objective, image):
        return AttackResult(image)


@pytest.fixture
def brighten():
    entry = register(RosterEntry("brighten", Brighten, {"shift": 8.0}, sweep=(2, 16), transform="Brighten"))
    yield entry
    del ROSTER["brighten"]


def test_names_are_those_of_the_tables():
    assert list(ROSTER) == [
        *(
            "quantize_only",
            "rescale_only",
            "drop_low",
            "drop_middle",
            "drop_high",
            "gn",
            "fgsm",
            "bim",
            "pgd",
            "mifgsm",
            "dimifgsm",
            "ssa",
        ),
        *("pgd_upstream", "segpgd", "cospgd", "tsallispgd"),
        *("apgd_masked_ce", "apgd_masked_ce_balanced", "apgd_jsd", "apgd_dice"),
        *("padam_ce", "padam_cos", "minimal_linf", "minimal_l2", "square"),
        *("vafa2d", "vafa", "vafa_no_rescale", "sa2_2d", "sa2"),
        *("coefficient", "pfa"),
    ]
    controls = ["quantize_only", "rescale_only", "drop_low", "drop_middle", "drop_high", "gn"]
    assert [name for name, entry in ROSTER.items() if entry.control] == controls


@pytest.mark.parametrize("entry", ROSTER.values(), ids=ROSTER)
def test_entries_can_be_built_described_and_pickled(entry, network, image, label):
    attack = entry.build(**({"block_size": 8} if "block_size" in inspect.signature(entry.attack).parameters else {}))
    parameters = attack.parameters
    assert json.loads(json.dumps(parameters)) == parameters
    assert all(parameters[name] == value for name, value in entry.parameters.items() if name != "loss")
    assert (entry.budget is None) == entry.name.startswith(("rescale_only", "drop_", "minimal_"))
    assert entry.budget is None or parameters[entry.budget] > 0
    assert not entry.control or attack.threat_model.startswith("none")
    copy = pickle.loads(pickle.dumps(attack))
    assert copy.parameters == parameters
    small = image[..., :8, :8, :8], label[..., :8, :8, :8]
    assert torch.equal(copy(network, *small), attack(network, *small))


@pytest.mark.parametrize("entry", ROSTER.values(), ids=ROSTER)
def test_signatures_are_explicit(entry):
    parameters = inspect.signature(entry.attack).parameters.values()
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(parameter.annotation is not parameter.empty for parameter in parameters)
    assert {"activation", "intensity_range", "amp", "seed", "progress"} <= {parameter.name for parameter in parameters}


def test_parameters_name_what_the_attack_chose_for_none():
    chosen = entry_of("pgd").build(recipe="upstream", eps=8).parameters
    assert (chosen["eps"], chosen["step_size"], chosen["restarts"]) == (8.0, pytest.approx(2.55), 1)
    assert chosen["loss"] == {"class": "DiceCrossEntropyLoss", "activation": None}
    assert entry_of("vafa").build(recipe="algorithm1").parameters["q_init"] == 1.0


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(attacks.AutoPGD()) == "AutoPGD()"
    assert repr(attacks.FastGradientSign(seed=3)) == "FastGradientSign(seed=3)"
    assert repr(attacks.SegPGD(eps=8)) == "SegPGD(eps=8.0, step_size=2.0)"


def test_parameters_of_other_objects():
    metric = HausdorffDistanceMetric(include_background=True, percentile=95)
    described = constructor_parameters(metric)
    assert described["class"] == "HausdorffDistanceMetric"
    assert (described["include_background"], described["percentile"]) == (True, 95)
    assert constructor_parameters(Plain(strength=5)) == {"class": "Plain", "strength": 5, "seed": 0}


def test_one_class_and_one_line_add_an_attack(brighten, network, image):
    assert entry_of("brighten") is brighten
    assert (brighten.control, brighten.budget) == (True, "shift")
    attack = brighten.build()
    assert repr(attack) == "Brighten(shift=8.0)"
    assert torch.allclose(attack(network, image), (image + 8 / 255).clamp(max=1))


def test_names_that_are_taken_or_unknown(brighten):
    with pytest.raises(ValueError, match="name='brighten'"):
        register(brighten)
    with pytest.raises(ValueError, match="transform='PGD'"):
        register(RosterEntry("other", Brighten, transform="PGD"))
    with pytest.raises(ValueError, match=r"'brigthen' is not in the roster.*did you mean 'brighten'"):
        entry_of("brigthen")
