# SPDX-License-Identifier: Apache-2.0
"""Golden numbers: what the authors' released code returns for a tiny network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from monai_vafa.attacks import (
    BasicIterative,
    FastGradientSign,
    ProjectedGradientDescent,
    SliceFrequencyAttack,
    VolumetricFrequencyAttack,
)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "golden" / "released_code.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def golden_network(golden):
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.Softplus(), torch.nn.Conv3d(6, 3, 3, padding=1)
    )
    keys = {"0.weight": "w1", "0.bias": "b1", "2.weight": "w2", "2.bias": "b2"}
    network.load_state_dict({own: torch.from_numpy(golden[theirs]) for own, theirs in keys.items()})
    return network


def run(attack_class, golden, network, **kwargs):
    image, label = (torch.from_numpy(golden[key])[None, None] for key in ("image", "label"))
    return attack_class(recipe="upstream", **kwargs).run(network, image, label)


def run_vafa(attack_class, golden, network, **kwargs):
    sizes = {"steps": int(golden["steps"]), "q_max": float(golden["q_max"]), "block_size": int(golden["block"])}
    result = run(attack_class, golden, network, **sizes, **kwargs)
    return result.tables[0, 0].numpy(), result.adversarial[0, 0].numpy()


def compare(tables, adversarial, golden, name):
    assert (tables == golden[f"{name}_q"]).mean() >= 0.999
    np.testing.assert_allclose(adversarial, golden[f"{name}_adv"], atol=1e-4)


@pytest.mark.parametrize(("similarity", "name"), [(None, "vafa3d_plain"), ("ssim", "vafa3d_ssim")])
def test_volumes(golden, golden_network, similarity, name):
    compare(*run_vafa(VolumetricFrequencyAttack, golden, golden_network, similarity=similarity), golden, name)


def test_slices(golden, golden_network):
    tables, adversarial = run_vafa(SliceFrequencyAttack, golden, golden_network)
    # theirs: slice, block of the slice; ours: blocks in row-major order, slices last
    tables = tables[..., 0].reshape(4, 16, 8, 8).transpose(1, 0, 2, 3)
    compare(tables, adversarial, golden, "vafa2d")


@pytest.mark.parametrize(
    ("name", "attack_class", "kwargs"),
    [
        ("pgd", ProjectedGradientDescent, {"steps": 5, "random_start": False}),
        ("bim", BasicIterative, {"steps": 5}),
        ("fgsm", FastGradientSign, {}),
    ],
)
def test_voxels(golden, golden_network, name, attack_class, kwargs):
    adversarial = run(attack_class, golden, golden_network, eps=4, **kwargs).adversarial[0, 0]
    np.testing.assert_allclose(adversarial, golden[f"{name}_adv"], rtol=0, atol=1e-6)


def test_another_step_size_gives_other_voxels(golden, golden_network):
    """So that the comparison above can fail."""
    adversarial = run(BasicIterative, golden, golden_network, eps=4, steps=5, step_size=0.5).adversarial[0, 0]
    assert (np.abs(adversarial.numpy() - golden["bim_adv"]) > 1e-3).mean() > 0.01


def test_another_recipe_is_another_attack(golden, golden_network):
    """So that the comparisons above can fail."""
    tables, _ = run_vafa(VolumetricFrequencyAttack, golden, golden_network, q_init=12)
    assert (tables == golden["vafa3d_ssim_q"]).mean() < 0.5
