# SPDX-License-Identifier: Apache-2.0
"""Attacks in a data set, in the workers of a data loader."""

from __future__ import annotations

import monai.data
import pytest
import torch
import torch.utils.data
from monai.transforms import Compose

from monai_vafa.attacks import FastGradientSign
from monai_vafa.transforms import AttackTransform, GNd, PGDd


def batches(transform, image, loader=monai.data.DataLoader, **options):
    items = [{"image": image[0], "label": torch.ones(1, 16, 16, 16)}]
    return loader(monai.data.Dataset(items, transform), batch_size=1, num_workers=1, **options)


@pytest.mark.parametrize("loader", [monai.data.DataLoader, torch.utils.data.DataLoader])
def test_workers_warn_that_they_attack_the_network_of_their_start(loader, network, image, capfd):
    options = {"loader": loader, "multiprocessing_context": "spawn"}
    transform = Compose([PGDd("image", network, label_key="label", steps=1)])
    next(iter(batches(transform, image, persistent_workers=True, **options)))
    assert "monai_vafa.handlers.AttackHandler" in capfd.readouterr().err


def test_other_workers_attack_the_network_of_their_epoch(network, image):
    """As the way out of the message says."""
    attack = FastGradientSign(eps=8)
    loader = batches(lambda item: AttackTransform(network, attack)(item["image"]), image, persistent_workers=False)
    for _ in range(2):
        torch.testing.assert_close(next(iter(loader)), attack(network, image))
        torch.nn.init.normal_(network[0].weight)


def test_controls_ask_no_network(image, capfd):
    next(iter(batches(GNd("image"), image, persistent_workers=True)))
    assert "AttackHandler" not in capfd.readouterr().err
