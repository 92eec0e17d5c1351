# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, EnsureTyped, Flipd, Spacingd

from monai_vafa import transforms
from monai_vafa.attacks import QuantizeOnly, VolumetricFrequencyAttack
from monai_vafa.transforms import VAFA, AttackTransform, AttackTransformd, VAFAd

SETTINGS = {"steps": 2, "block_size": 8}


@pytest.fixture
def expected(network, image, label):
    return VolumetricFrequencyAttack(**SETTINGS)(network, image, label)[0]


def test_same_as_the_attack(network, image, label, expected):
    assert torch.equal(VAFA(network, **SETTINGS)(image[0], label[0]), expected)


@pytest.mark.parametrize("kind", [lambda x: x.numpy(), lambda x: x, lambda x: MetaTensor(x, affine=torch.eye(4) * 2)])
def test_the_kind_that_goes_in_comes_out(network, image, label, expected, kind):
    data = {"image": kind(image[0]), "label": kind(label[0])}
    result = VAFAd("image", network, label_key="label", **SETTINGS)(data)
    assert type(result["image"]) is type(data["image"])
    np.testing.assert_array_equal(np.asarray(result["image"]), expected)
    assert result["label"] is data["label"]


@pytest.mark.parametrize("kind", [lambda x: x.numpy(), lambda x: x, MetaTensor])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.uint8])
def test_floating_dtypes_are_kept(network, image, kind, dtype):
    if dtype is torch.bfloat16 and isinstance(kind(image), np.ndarray):
        pytest.skip("numpy has no bfloat16")
    img = kind(image[0].round().to(dtype))
    for transform in (VAFA(network, **SETTINGS), transforms.FrequencyQuantize(20, 8)):
        result = transform(img)
        expected = torch.float32 if dtype is torch.uint8 else dtype
        assert torch.as_tensor(result).dtype is expected
        assert type(result) is type(img)


def test_affine_and_history_are_kept(network, image, label):
    data = {"image": MetaTensor(image[0]), "label": MetaTensor(label[0])}
    before = Compose([Flipd(["image", "label"], 0), Spacingd(["image", "label"], (1, 1, 0.8), mode="nearest")])(data)
    after = VAFAd("image", network, label_key="label", **SETTINGS)(before)["image"]
    assert torch.equal(after.affine, before["image"].affine)
    assert after.applied_operations == before["image"].applied_operations
    assert after.pending_operations == before["image"].pending_operations
    assert after.meta == before["image"].meta


def test_lazy_pipelines_are_resampled_first(network, image, label):
    pipeline = Compose(
        [Flipd(["image", "label"], 0), VAFAd("image", network, label_key="label", **SETTINGS)], lazy=True
    )
    data = {"image": MetaTensor(image[0]), "label": MetaTensor(label[0])}
    flipped = VolumetricFrequencyAttack(**SETTINGS)(network, image.flip(2), label.flip(2))[0]
    assert torch.allclose(pipeline(data)["image"].as_tensor(), flipped, atol=1e-5)


def test_windows(network):
    image = torch.rand(1, 8, 8, 12)
    whole = VAFA(network, roi_size=8, **SETTINGS)(image)
    assert torch.equal(whole[..., 4:], VAFA(network, **SETTINGS)(image[..., 4:]))


def test_cache_dataset_does_not_freeze_the_attack(network, image, label):
    pipeline = Compose([EnsureTyped(["image", "label"]), VAFAd("image", network, label_key="label", **SETTINGS)])
    dataset = CacheDataset([{"image": image[0], "label": label[0]}], pipeline, progress=False)
    first = dataset[0]["image"]
    with torch.no_grad():
        network[0].weight.mul_(-1)
    assert not torch.equal(dataset[0]["image"], first)


def test_missing_keys(network, image):
    attack = VAFAd(["image", "other"], network, **SETTINGS)
    with pytest.raises(KeyError, match="other"):
        attack({"image": image[0]})
    lenient = VAFAd(["image", "other"], network, label_key="label", allow_missing_keys=True, **SETTINGS)
    assert torch.equal(lenient({"image": image[0]})["image"], VAFA(network, **SETTINGS)(image[0]))


def test_missing_label_is_named(network, image):
    with pytest.raises(KeyError, match="label_key"):
        VAFAd("image", network, label_key="label", **SETTINGS)({"image": image[0]})


def test_from_json(network, image, label, expected):
    config = {
        "transform": {
            "_target_": "monai_vafa.transforms.VAFAd",
            "keys": "image",
            "label_key": "label",
            "network": "@network",
            **SETTINGS,
        }
    }
    parser = ConfigParser({**config, "network": network})
    transform = parser.get_parsed_content("transform")
    assert torch.equal(transform({"image": image[0], "label": label[0]})["image"], expected)


@pytest.mark.parametrize("name", ["VAFA", "AttackTransform", "FrequencyQuantize", "RandFrequencyQuantize"])
def test_dictionary_versions_have_all_of_monais_names(name):
    plain = getattr(transforms, f"{name}d")
    assert getattr(transforms, f"{name}D") is plain
    assert getattr(transforms, f"{name}Dict") is plain


def test_any_attack_is_a_transform(network, image):
    quantized = AttackTransform(network, QuantizeOnly(block_size=8))(image[0])
    assert torch.equal(quantized, QuantizeOnly(block_size=8)(network, image)[0])
    assert torch.equal(AttackTransformd("a", network, QuantizeOnly(block_size=8))({"a": image[0]})["a"], quantized)


def test_bad_parameters_are_named_when_the_transform_is_made(network):
    with pytest.raises(ValueError, match="q_max=2"):
        VAFA(network, q_max=2)
    with pytest.raises(TypeError, match="network"):
        VAFA("network")
