# SPDX-License-Identifier: Apache-2.0
"""One perturbation for all scans: trained on some, tried on others."""

from __future__ import annotations

import json
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F

from monai_vafa.attacks import (
    GaussianNoise,
    SlidingWindowAttack,
    UniversalPerturbation,
    UniversalTraining,
    entry_of,
)
from monai_vafa.evaluation import AttackRows

from .probes import Spy

SIDE = 8


def scan(number, sides=(SIDE, SIDE, SIDE)):
    """A bright ball somewhere in noise, and where it is."""
    draw = torch.Generator().manual_seed(number)
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float) for side in sides), indexing="ij")
    centre = [2 + (side - 5) * float(torch.rand((), generator=draw)) for side in sides]
    label = (sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) < 6).long()[None, None]
    image = 0.45 + 0.1 * label + 0.05 * torch.randn(label.shape, generator=draw)
    return image.clamp(0, 1), label


@pytest.fixture(scope="module")
def network():
    """A small network that has learned to find the ball."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = torch.nn.Sequential(
            torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(8, 2, 3, padding=1)
        )
        optimizer = torch.optim.Adam(made.parameters(), 0.02)
        images, labels = map(torch.cat, zip(*map(scan, range(100, 116)), strict=True))
        for _ in range(80):
            optimizer.zero_grad()
            F.cross_entropy(made(images), labels[:, 0], torch.tensor([1.0, 4.0])).backward()
            optimizer.step()
    return made.eval()


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    """The file of a perturbation that was trained on eight scans."""
    training, file = UniversalTraining(eps=8), tmp_path_factory.mktemp("universal") / "made" / "universal.pt"
    for _ in range(5):
        for number in range(8):
            training.run(network, *scan(number))
    training.save(file)
    return file


def right(network, attack, numbers=range(200, 220)):
    """Share of the voxels that stay right, on scans that nobody trained on."""
    with torch.no_grad():
        pairs = [(network(attack(network, *scan(n))).argmax(1), scan(n)[1][:, 0]) for n in numbers]
    return float(torch.stack([(said == label).float().mean() for said, label in pairs]).mean())


def test_unseen_scans_are_fooled_more_than_by_noise(network, path):
    clean = right(network, lambda network, image, label: image)
    universal, noise = right(network, UniversalPerturbation(path=path)), right(network, GaussianNoise(sigma=8))
    assert clean > 0.85
    assert abs(noise - clean) < 0.03
    assert universal < noise - 0.05
    assert universal < right(network, UniversalPerturbation(path=path, eps=2)) < clean + 0.01


def test_the_network_is_never_asked(network, path):
    spy, (image, label) = Spy(network), scan(1)
    attack = UniversalPerturbation(path=path)
    adversarial = attack(spy, image, label)
    assert not spy.seen
    made = torch.load(path, weights_only=True)
    assert made.keys() == {"perturbation", "eps"}
    assert made["perturbation"].shape == (1, SIDE, SIDE, SIDE)
    assert torch.allclose(adversarial, (image + made["perturbation"]).clamp(0, 1))
    assert float((adversarial - image).abs().max()) * 255 == pytest.approx(8, abs=1e-3)
    assert attack.threat_model == (
        "no access (one perturbation, made with a network and scans of others, is added to each window), "
        "aims at any wrong answer; may change: each voxel by at most 8 of 255"
    )
    assert not attack.control


def test_it_is_a_share_of_the_intensity_range_and_clipped_to_it(network, path):
    image, label = scan(1)
    expected = UniversalPerturbation(path=path)(network, image, label)
    in_hu = UniversalPerturbation(path=path, intensity_range=(-100, 400))(network, image * 500 - 100, label)
    assert torch.allclose(in_hu, expected * 500 - 100, atol=1e-2)
    dark = UniversalPerturbation(path=path)(network, torch.zeros_like(image))
    assert dark.min() == 0


def test_each_window_of_a_volume_gets_it(network, path):
    image, label = scan(3, (SIDE, 2 * SIDE, SIDE))
    windows = SlidingWindowAttack(SIDE)
    change = windows(UniversalPerturbation(path=path), network, image, label) - image
    assert torch.allclose(change[..., :SIDE, :], change[..., SIDE:, :], atol=1e-6)
    for sides in (4, (SIDE, SIDE, 6)):
        with pytest.raises(ValueError, match=r"is for windows of \(1, 8, 8, 8\), channels first, not \(1, .*train one"):
            SlidingWindowAttack(sides)(UniversalPerturbation(path=path), network, image, label)
    with pytest.raises(ValueError, match=r"not \(2, 8, 8, 8\)"):
        UniversalPerturbation(path=path)(network, torch.rand(1, 2, SIDE, SIDE, SIDE))


def test_rows_and_results_know_which_file_it_was(network, path, tmp_path):
    assert entry_of("universal").name == "universal"
    rows = AttackRows({"universal": {"path": str(path)}}, sweeps={"universal": {"eps": [2]}})
    assert list(rows.rows) == ["universal", "universal-eps2"]
    parameters = UniversalPerturbation(path=path).parameters
    assert json.loads(json.dumps(parameters)) == parameters
    assert (parameters["path"], parameters["eps"], len(parameters["sha256"])) == (str(path), 8.0, 64)
    assert UniversalPerturbation(path=path, sha256=parameters["sha256"]).parameters == parameters
    with pytest.raises(ValueError, match="sha256='00' is not that of path="):
        UniversalPerturbation(path=path, sha256="00")
    copy = pickle.loads(pickle.dumps(UniversalPerturbation(path=path)))
    assert torch.equal(copy(network, *scan(1)), UniversalPerturbation(path=path)(network, *scan(1)))
    assert repr(path) not in repr(UniversalTraining())


class Evil:
    def __reduce__(self):
        return (warnings.warn, ("ran",))


@pytest.mark.parametrize(
    "content",
    [
        {"perturbation": torch.ones(1, 4, 4, 4), "eps": 4.0},
        {"perturbation": torch.full((1, 4, 4, 4), torch.nan), "eps": 4.0},
        {"perturbation": torch.zeros(()), "eps": 4.0},
        {"perturbation": torch.zeros(1, 4, 4, 4)},
        {"perturbation": torch.zeros(1, 4, 4, 4), "eps": -1.0},
        {"perturbation": torch.zeros(1, 4, 4, 4), "eps": 4.0, "more": Evil()},
        torch.zeros(1, 4, 4, 4),
    ],
)
def test_other_files_are_refused_and_run_nothing(content, tmp_path):
    torch.save(content, tmp_path / "other.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"path='.*other.pt' is no file of UniversalTraining"):
            UniversalPerturbation(path=tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match="missing"):
        UniversalPerturbation(path=tmp_path / "missing.pt")
    with pytest.raises(TypeError):
        UniversalPerturbation()


def test_training_takes_windows_of_one_shape(network):
    training = UniversalTraining()
    training.run(network, *scan(0))
    with pytest.raises(ValueError, match=r"is for windows of \(1, 8, 8, 8\), channels first, not \(1, 8, 8, 10\)"):
        training.run(network, *scan(0, (SIDE, SIDE, 10)))


def test_training_on_a_linear_network_finds_the_best_perturbation():
    """Every voxel pulls the loss in a known direction, whatever the scan."""
    weight = torch.randn(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))

    class Linear(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x * weight, 1 + 0 * x], 1)

    training = UniversalTraining(eps=4, loss=lambda logits, label: logits[:, 0].sum())
    for number in range(22):
        image = 0.2 + 0.6 * torch.rand(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(number))
        training.run(Linear(), image, torch.ones(2, 1, 4, 4, 4))
    assert torch.allclose(training._perturbation, 4 / 255 * weight[0].sign())
