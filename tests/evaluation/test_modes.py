# SPDX-License-Identifier: Apache-2.0
"""An evaluation leaves the network of its user in the modes it had."""

from __future__ import annotations

import pytest
import torch

from monai_vafa.evaluation import evaluate
from monai_vafa.evaluation.case import predict
from monai_vafa.networks.modes import eval_mode
from monai_vafa.target import open_target
from tests.target import zoo


class Merging(torch.nn.Module):
    """A convolution with an added part, which is merged into its weights in eval mode, as LoRA layers do."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(3, 3, 1)
        self.added = torch.nn.Parameter(torch.full_like(self.conv.weight, 0.25))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if self.merged == mode:
            self.conv.weight.data += -self.added.data if mode else self.added.data
            self.merged = not mode
        return self

    def forward(self, x):
        weight = self.conv.weight if self.merged else self.conv.weight + self.added
        return torch.nn.functional.conv3d(x, weight, self.conv.bias)


@pytest.fixture
def in_training(network):
    """In training mode, apart from one frozen layer."""
    made = torch.nn.Sequential(network, torch.nn.BatchNorm3d(3), Merging()).train()
    made[1].eval()
    return made


def modes(network):
    return [module.training for module in network.modules()]


def test_an_evaluation_leaves_modes_and_merged_weights_as_they_were(in_training, target, metrics, datalist):
    class Switching(type(target())):
        """A target that puts its network into eval mode itself, as most code does."""

        def logits(self, image):
            self.network.eval()
            return super().logits(image)

    made = Switching(**vars(target(network=in_training)))
    before, weight = modes(in_training), in_training[2].conv.weight.detach().clone()
    for _ in evaluate(made, {"pgd": {"steps": 1, "restarts": 1}}, datalist[:2], **metrics):
        assert modes(in_training) == before  # also between two rows
        assert not in_training[2].merged
    torch.testing.assert_close(in_training[2].conv.weight, weight)


def test_an_error_leaves_them_too(in_training, target):
    before = modes(in_training)
    with pytest.raises(RuntimeError):
        predict(target(network=in_training), torch.rand(1, 2, 8, 8, 8))
    assert modes(in_training) == before


@pytest.mark.parametrize("training", [True, False])
def test_logits_of_a_bundle(training, tmp_path):
    bundle = zoo.softmax(tmp_path / "zoo")
    made = open_target(bundle.folder, device="cpu")
    image = made.preprocess(made.cases(bundle.data)[0])["image"][None].as_tensor()
    expected = made.logits(image)
    made.network.train(training)
    torch.testing.assert_close(made.logits(image), expected)
    assert set(modes(made.network)) == {training}


def test_a_network_in_eval_mode_is_not_touched(network):
    network.eval()
    network.eval = network.train = lambda *_: pytest.fail("its mode was set")
    with eval_mode(network):
        pass
