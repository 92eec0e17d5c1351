# SPDX-License-Identifier: Apache-2.0
"""Networks that end in a softmax or sigmoid are attacked by what comes before it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.special
import torch

from monai_vafa.evaluation import AttackEvaluator, evaluate
from monai_vafa.report import write_report
from monai_vafa.target import open_target

from . import zoo

SCRIPT = """\
import torch
from monai.networks.nets import UNet


class Ended(UNet):
    def forward(self, x):
        return torch.{}(super().forward(x){})
"""


def ended(root, activation, kind):
    """A bundle whose network ends in an activation, and the same without it."""
    bundle = zoo.softmax(root)
    post = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
    if kind == "sigmoid":
        post = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
    zoo.change(bundle.folder, "inference", postprocessing={"_target_": "Compose", "transforms": [post]})
    plain = open_target(bundle.folder, workflow="inference")
    (bundle.folder / "scripts").mkdir()
    (bundle.folder / "scripts" / "__init__.py").write_text(
        SCRIPT.format(activation, ", dim=1" if activation == "softmax" else "")
    )
    config = json.loads((bundle.folder / "configs" / "inference.json").read_text())
    zoo.change(bundle.folder, "inference", network_def={**config["network_def"], "_target_": "scripts.Ended"})
    return open_target(bundle.folder, workflow="inference"), plain, bundle


@pytest.mark.parametrize(
    ("activation", "kind"), [("softmax", "softmax"), ("sigmoid", "sigmoid"), ("sigmoid", "softmax")]
)
def test_probabilities_are_recognised_and_become_logits(activation, kind, tmp_path, caplog):
    target, plain, bundle = ended(tmp_path, activation, kind)
    assert target.activation == kind
    image = target.preprocess(target.cases(bundle.data)[0])["image"][None].as_tensor()
    before = target.inferer(image, target.network).detach().numpy()
    logits = target.logits(image).numpy()
    assert "gives probabilities, not logits" in caplog.text
    back = scipy.special.softmax(logits, axis=1) if activation == "softmax" else scipy.special.expit(logits)
    assert np.allclose(back, before, atol=1e-5)
    # Told once.
    caplog.clear()
    assert np.array_equal(target.logits(image).numpy(), logits)
    assert not caplog.text
    # Gradients are those of the network without its end.
    window = image[..., :16, :12, :8].clone()

    def gradient(network):
        leaf = window.clone().requires_grad_()
        output = network(leaf)
        probabilities = output.softmax(1) if activation == "softmax" else output.sigmoid()
        return torch.autograd.grad((probabilities[:, 1] ** 2).sum(), leaf)[0]

    assert torch.allclose(gradient(target.network), gradient(plain.network), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_scores_are_those_of_the_network_without_its_end(activation, tmp_path):
    target, plain, bundle = ended(tmp_path, activation, activation)
    both = []
    for each in (target, plain):
        found = evaluate(each, {"pgd": {"eps": 8, "steps": 3}}, each.cases(bundle.data)[:1], visibility_metrics={})
        both.append([(result.attack, result.scores["dsc"], result.changed_voxel_rate) for result in found])
    assert np.allclose([row[1:] for row in both[0]], [row[1:] for row in both[1]], atol=0.01)
    assert both[0][1][2] > 0.01


def test_results_say_so(tmp_path):
    """Also those of a second run, for which nothing is left to compute."""
    target, plain, bundle = ended(tmp_path, "softmax", "softmax")
    for name, each, told in (("a", target, True), ("a", open_target(bundle.folder), True), ("b", plain, False)):
        out, cases = tmp_path / name, each.cases(bundle.data)[:1]
        AttackEvaluator(target=each, attacks=["gn"], cases=cases, output_dir=out, visibility_metrics={}).run()
        write_report(out)
        assert json.loads((out / "summary.json").read_text())["probabilities"] == told
        page = (out / "index.html").read_text()
        assert ('<p class="warning">The network gives probabilities instead of logits.' in page) == told


def test_logits_stay_what_they_are(tiny_zoo, caplog):
    bundle = tiny_zoo["softmax"]
    target = open_target(bundle.folder)
    network = target.network
    target.logits(target.preprocess(target.cases(bundle.data)[0])["image"][None])
    assert target.network is network
    assert "probabilities" not in caplog.text
