# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.transforms import Compose, RandFlip, ScaleIntensityRange

from monai_vafa.results.describe import describe, differences


def test_objects_are_named_with_what_they_were_built_with():
    text = describe(ScaleIntensityRange(-175, 250, 0, 1))
    assert text["class"] == "ScaleIntensityRange"
    assert (text["a_min"], text["b_max"]) == (-175, 1)


def test_parts_are_described_too():
    text = describe({"pipeline": Compose([ScaleIntensityRange(0, 1, 0, 1)]), "loss": DiceCELoss(softmax=True)})
    assert text["pipeline"]["transforms"][0]["class"] == "ScaleIntensityRange"
    assert text["loss"]["dice"]["softmax"] is True


def test_json_can_hold_it_and_two_runs_agree():
    def make():
        return Compose([RandFlip(0.5), ScaleIntensityRange(0, 1, 0, 1), torch.device("cpu"), torch.float32, len])

    first, second = (json.dumps(describe(make())) for _ in range(2))
    assert first == second
    assert " at 0x" not in first


def test_differences_name_their_place():
    old = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    new = {"a": {"b": 2, "c": [1, 3]}, "e": 1}
    assert differences(old, new) == ["a.b: 1, now 2", "a.c[1]: 2, now 3", "d: 1, now None", "e: None, now 1"]
    assert differences(old, old) == []


def test_numbers_that_json_lacks_do_not_differ_from_themselves():
    described = describe({"a": float("nan"), "b": np.array([np.inf, 1.0])})
    assert described == {"a": "nan", "b": ["inf", 1.0]}
    assert differences(json.loads(json.dumps(described)), described) == []
