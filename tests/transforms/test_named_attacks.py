# SPDX-License-Identifier: Apache-2.0
"""Attacks under their short names."""

from __future__ import annotations

import inspect
import pickle
import runpy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, EnsureTyped, Flipd, Randomizable

from monai_vafa import attacks, transforms

NAMES = {
    "APGD": (attacks.AutoPGD, {"steps": 4, "eps": 3}),
    "PFA": (attacks.PerceptualFrequencyAttack, {"steps": 2, "rmse": 3}),
    "BIM": (attacks.BasicIterative, {"steps": 2, "recipe": "upstream"}),
    "CosPGD": (attacks.CosPGD, {"steps": 2}),
    "DIMIFGSM": (attacks.DiverseInputsIterative, {"steps": 2, "diversity": 1.0}),
    "FGSM": (attacks.FastGradientSign, {"eps": 8}),
    "GN": (attacks.GaussianNoise, {"sigma": 6}),
    "MIFGSM": (attacks.MomentumIterative, {"steps": 2}),
    "MinimalNorm": (attacks.MinimalNormAttack, {"steps": 2}),
    "PAdam": (attacks.ProjectedAdam, {"steps": 2}),
    "PGD": (attacks.ProjectedGradientDescent, {"steps": 2, "restarts": 1}),
    "SSA": (attacks.SpectrumSimulationAttack, {"steps": 2, "copies": 2}),
    "SegPGD": (attacks.SegPGD, {"steps": 2}),
    "Square": (attacks.SquareAttack, {"steps": 20}),
    "TsallisPGD": (attacks.TsallisPGD, {"steps": 2}),
    "VAFA": (attacks.VolumetricFrequencyAttack, {"steps": 2, "block_size": 8}),
}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def data(image, label):
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))
    tensors = {"image": image[0], "label": label[0]}
    return {k: MetaTensor(x, affine=affine, meta={"filename_or_obj": f"{k}.nii"}) for k, x in tensors.items()}


def test_same_as_the_attack_with_its_parameters(network, image, label, name):
    attack_class, kwargs = NAMES[name]
    expected = attack_class(**kwargs)(network, image, label)[0]
    assert not torch.equal(expected, image[0])
    assert torch.equal(getattr(transforms, name)(network, **kwargs)(image[0], label[0]), expected)
    transform = getattr(transforms, f"{name}d")("image", network, label_key="label", **kwargs)
    assert torch.equal(transform({"image": image[0], "label": label[0]})["image"], expected)


def test_pipeline_keeps_meta_data_and_all_else(network, data, name):
    attack_class, kwargs = NAMES[name]
    kwargs = {**kwargs, "seed": 0}  # without it, a pipeline draws one
    before = Flipd(["image", "label"], 0)(data)
    transform = getattr(transforms, f"{name}d")("image", network, label_key="label", roi_size=8, **kwargs)
    after = Compose([Flipd(["image", "label"], 0), transform])(data)
    windows = attacks.SlidingWindowAttack(8)
    expected = windows(attack_class(**kwargs), network, before["image"][None], before["label"][None])[0]
    assert isinstance(after["image"], MetaTensor)
    assert torch.equal(after["image"].as_tensor(), expected.as_tensor())
    assert torch.equal(after["image"].affine, before["image"].affine)
    assert after["image"].meta["filename_or_obj"] == "image.nii"
    assert [operation["class"] for operation in after["image"].applied_operations] == ["Flip"]
    assert torch.equal(after["label"], before["label"])
    assert after["label"].meta["filename_or_obj"] == "label.nii"


def test_no_cache_keeps_an_adversarial_image(network, data, name, monkeypatch):
    attack_class, kwargs = NAMES[name]
    asked = []
    run = attack_class.run
    monkeypatch.setattr(attack_class, "run", lambda *args, **more: asked.append(1) or run(*args, **more))
    transform = getattr(transforms, f"{name}d")("image", network, **kwargs)
    dataset = CacheDataset([data], Compose([EnsureTyped(["image", "label"]), transform]), progress=False)
    assert not asked
    for _ in range(2):
        assert dataset[0]["image"].shape == (1, 16, 16, 16)
    assert len(asked) == 2


def test_from_json(network, image, name):
    attack_class, kwargs = NAMES[name]
    config = {"_target_": f"monai_vafa.transforms.{name}d", "keys": "image", "network": "@network", **kwargs}
    transform = ConfigParser({"transform": config, "network": network}).get_parsed_content("transform")
    assert torch.equal(transform({"image": image[0]})["image"], attack_class(**kwargs)(network, image)[0])


def test_dictionary_versions_have_all_of_monais_names(name):
    plain = getattr(transforms, f"{name}d")
    for other in (f"{name}D", f"{name}Dict"):
        assert getattr(transforms, other) is plain
        assert other in transforms.__all__


def test_missing_keys_and_bad_parameters_are_named(network, data, name):
    dictionary = getattr(transforms, f"{name}d")
    with pytest.raises(KeyError, match="other"):
        dictionary("other", network)(data)
    assert dictionary("other", network, allow_missing_keys=True)(data).keys() == data.keys()
    with pytest.raises(TypeError, match="strength"):
        dictionary("image", network, strength=3)
    with pytest.raises(TypeError, match="network must be"):
        dictionary("image", "network")


def test_explicit_signatures_and_pickles(network, data, name):
    attack_class, kwargs = NAMES[name]
    own = inspect.signature(attack_class).parameters
    dictionary = getattr(transforms, f"{name}d")
    for made in (getattr(transforms, name), dictionary):
        parameters = inspect.signature(made).parameters
        assert own.items() <= parameters.items()
        assert not {p.kind for p in parameters.values()} & {
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        }
        assert made.__doc__ and made.__name__ in (name, f"{name}d")
    assert list(inspect.signature(dictionary).parameters)[:6] == [
        *("keys", "network", "label_key", "roi_size", "sw_batch_size", "allow_missing_keys")
    ]
    transform = dictionary("image", network, "label", **kwargs)
    copy = pickle.loads(pickle.dumps(transform))
    assert torch.equal(copy(data)["image"], transform(data)["image"])


@pytest.mark.parametrize("name", ["PGD", "GN", "Square", "CosPGD", "APGD"])
def test_random_state_reaches_the_seed(network, data, name):
    _, kwargs = NAMES[name]
    transform = getattr(transforms, f"{name}d")("image", network, **kwargs)
    assert isinstance(transform, Randomizable)
    for random in (transform, Compose([transform])):

        def draws(seed, random=random):
            random.set_random_state(seed)
            return [random(data)["image"].as_tensor() for _ in range(2)]

        first, second = draws(1)
        assert not torch.equal(first, second)
        assert all(map(torch.equal, draws(1), (first, second)))
        assert not torch.equal(draws(2)[0], first)
    fixed = getattr(transforms, f"{name}d")("image", network, seed=3, **kwargs)
    expected = fixed(data)["image"]
    assert torch.equal(Compose([fixed]).set_random_state(5)(data)["image"], expected)


def test_stub_for_editors_is_current():
    made = runpy.run_path(str(Path(__file__).parent / "make_stub.py"))
    assert made["PATH"].read_text() == made["stub"](), "run tests/transforms/make_stub.py"


def test_an_attack_of_ones_own_has_transforms(image):
    @dataclass(kw_only=True, eq=False, repr=False)
    class Darken(attacks.Attack):
        control = True
        shift: float = 4.0

        def _generate(self, objective, image):
            return attacks.AttackResult(image - self.shift / 255)

    with pytest.raises(AttributeError, match="Darken"):
        transforms.Darken  # noqa: B018
    attacks.register(attacks.RosterEntry("darken", Darken, transform="Darken"))
    try:
        assert {"Darken", "Darkend", "DarkenD", "DarkenDict"} <= set(dir(transforms))
        darkened = transforms.DarkenD("image", shift=8)({"image": image[0]})["image"]
        assert torch.allclose(darkened, image[0] - 8 / 255)
        assert "shift" in inspect.signature(transforms.Darken).parameters
    finally:
        del attacks.ROSTER["darken"]


def test_noise_needs_no_network_and_follows_its_seed(image):
    array = image[0].numpy()
    noisy = transforms.GN(sigma=6, seed=1)(array)
    assert isinstance(noisy, np.ndarray)
    assert np.array_equal(transforms.GNd("a", sigma=6, seed=1)({"a": array})["a"], noisy)
    assert not np.array_equal(transforms.GN(sigma=6, seed=2)(array), noisy)
    assert (noisy - array).std() * 255 == pytest.approx(6, rel=0.05)
