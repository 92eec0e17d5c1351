# SPDX-License-Identifier: Apache-2.0
"""In an evaluation: what is random belongs to the case, and a broken gradient is a column of the result."""

from __future__ import annotations

import pytest
import torch

from monai_vafa.evaluation import evaluate
from monai_vafa.report import write_report


class _HideGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image):
        return image.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 0


class _Hidden(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(_HideGradient.apply(x))


def test_noise_differs_between_cases_and_not_with_their_order(target, metrics, datalist):
    def noise(items):
        rows = evaluate(target(), ["gn"], items, **metrics)
        return {r.case: r.volumes.adversarial - r.volumes.image for r in rows if r.attack == "gn"}

    forward, backward = noise(datalist[:2]), noise(datalist[:2][::-1])
    first, second = forward.values()
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.2
    assert all(torch.equal(forward[case], backward[case]) for case in forward)


def test_a_hidden_gradient_is_a_column(target, metrics, datalist, network):
    with pytest.warns(UserWarning, match="gradient is zero everywhere"):
        _, broken = evaluate(target(network=_Hidden(network)), ["bim"], datalist[:1], **metrics)
    _, sound = evaluate(target(), ["bim"], datalist[:1], **metrics)
    assert broken.case_row["zero_gradient"] == 1
    assert "nonfinite_gradient" not in broken.case_row
    assert not {"zero_gradient", "nonfinite_gradient"} & set(sound.case_row)


def test_a_hidden_gradient_is_told_by_the_report(evaluator, network, tmp_path):
    with pytest.warns(UserWarning, match="gradient is zero everywhere"):
        evaluator(network=_Hidden(network), attacks=["bim"]).run()
    write_report(tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert '<p class="warning">Steps whose gradient was zero everywhere: bim 100 % in case' in page
