# SPDX-License-Identifier: Apache-2.0
"""SA2: factors of DCT coefficients, against what its authors' released code returns for a tiny network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_vafa.attacks import SliceSpectrumAdversarialAttack, SpectrumAdversarialAttack
from monai_vafa.attacks.sa2 import _FactorPerturbation
from monai_vafa.frequency import block_spectrum


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "golden" / "sa2.npz") as file:
        return {name: torch.from_numpy(np.asarray(values)) for name, values in file.items()}


@pytest.fixture(scope="module")
def golden_network(golden):
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.Softplus(), torch.nn.Conv3d(6, 3, 3, padding=1)
    )
    keys = {"0.weight": "w1", "0.bias": "b1", "2.weight": "w2", "2.bias": "b2"}
    network.load_state_dict({own: golden[theirs] for own, theirs in keys.items()})
    return network


def run(golden, network, label="label", **parameters):
    attack = SpectrumAdversarialAttack(
        **{name: float(golden[name]) for name in ("rho", "step_size", "loss_weight", "similarity_weight")},
        **{"steps": int(golden["steps"]), "block_size": int(golden["block"]), "random_start": False},
    )
    attack = SpectrumAdversarialAttack(**{**attack.parameters, "loss": None, **parameters})
    return attack.run(network, golden["image"][None, None], golden[label].reshape(1, 1, 16, 16, 16).long())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("all_ssim", {}),
        ("all_plain", {"similarity_weight": 0.0}),
        ("low_ssim", {"band": "low"}),
        ("middle_ssim", {"band": "middle"}),
        ("high_ssim", {"band": "high"}),
        ("targeted_ssim", {"targeted": True, "label": "target"}),
        ("noise_ssim", {"random_start": True}),
    ],
)
def test_equals_the_released_code(golden, golden_network, monkeypatch, name, parameters):
    monkeypatch.setattr(
        _FactorPerturbation, "start_anywhere", lambda self, draws: setattr(self, "variable", golden["noise_start"])
    )
    result = run(golden, golden_network, **parameters)
    torch.testing.assert_close(result.adversarial, golden[f"{name}_adv"], rtol=0, atol=2e-5)
    assert torch.isclose(result.tables, golden[f"{name}_factors"], atol=1e-5).float().mean() > 0.999


def test_another_rho_is_another_attack(golden, golden_network):
    """So that the comparison above can fail."""
    assert not torch.allclose(run(golden, golden_network, rho=0.2).adversarial, golden["all_ssim_adv"], atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(rho=st.floats(0.01, 1), band=st.sampled_from(["all", "low", "middle", "high"]), slices=st.booleans())
def test_coefficients_change_by_rho_at_most_and_those_outside_the_band_not_at_all(rho, band, slices):
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    image = 0.5 + 0.01 * torch.rand(1, 1, 8, 16, 8)  # so that nothing is clipped
    kind = SliceSpectrumAdversarialAttack if slices else SpectrumAdversarialAttack
    adversarial = kind(rho=rho, band=band, steps=2, block_size=8)(network, image, image.round())
    block = (8, 8, 1) if slices else (8, 8, 8)
    before, after = block_spectrum(image, block), block_spectrum(adversarial, block)
    moved = (after - before).abs()
    assert (moved <= rho * before.abs() + 2e-3).all()
    index = torch.stack(torch.meshgrid(*map(torch.arange, block), indexing="ij")).sum(0)
    highest = int(index.max())
    inside = {"all": (1, highest), "low": (1, 3), "middle": (4, highest - 4), "high": (highest - 3, highest)}[band]
    free = (index >= inside[0]) & (index <= inside[1])
    assert (moved[..., ~free] < 2e-3).all()
    assert (moved[..., free] > 2e-3).any()


def test_random_starts_follow_the_seed(network, image, label):
    attacked = [SpectrumAdversarialAttack(steps=1, block_size=8, seed=s)(network, image, label) for s in (0, 0, 1)]
    assert torch.equal(attacked[0], attacked[1])
    assert not torch.equal(attacked[0], attacked[2])


def test_images_are_slices_of_their_own(golden):
    network = torch.nn.Conv2d(1, 3, 3, padding=1)
    picture = golden["image"][None, None, ..., 0]
    changed = SliceSpectrumAdversarialAttack(steps=2, block_size=8)(network, picture)
    assert changed.shape == picture.shape
    assert not torch.equal(changed, picture)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rho": 0}, "rho=0"),
        ({"rho": 1.5}, "rho=1.5 must be at most 1"),
        ({"loss_weight": 0}, "loss_weight=0"),
        ({"similarity_weight": -1}, "similarity_weight=-1"),
        ({"band": "mid"}, "band='mid'"),
    ],
)
def test_impossible_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        SpectrumAdversarialAttack(**parameters)


def test_windows_too_thin_for_ssim_are_named(network):
    image = torch.rand(1, 1, 8, 8, 2)
    with pytest.raises(ValueError, match="use similarity_weight=0"):
        SpectrumAdversarialAttack(block_size=8)(network, image)
    SpectrumAdversarialAttack(block_size=8, similarity_weight=0, steps=1)(network, image)
