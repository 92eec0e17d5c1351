# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
import zipfile

import numpy as np
import pytest
import torch
from monai.networks.nets import UNETR

from monai_vafa.networks import UNETRPP, load_checkpoint


@pytest.fixture
def saved(network, tmp_path):
    def save(content):
        torch.save(content, tmp_path / "model.pt")
        return tmp_path / "model.pt"

    return save


@pytest.fixture
def unetr():
    return tiny_unetr()


def tiny_unetr(out_channels=3):
    sizes = {"feature_size": 2, "hidden_size": 12, "mlp_dim": 24, "num_heads": 2}
    return UNETR(1, out_channels, (16, 16, 16), proj_type="perceptron", **sizes)


def tiny_unetrpp(out_channels=3, **kwargs):
    sizes = {"dims": (4, 8, 16, 32), "depths": 1, "num_heads": 2, "proj_sizes": 4, "decoder_depth": 1}
    return UNETRPP(1, out_channels, img_size=(8, 16, 16), patch_size=1, decoder_proj_size=4, **sizes, **kwargs)


def randomized(network):
    return {
        key: torch.randn_like(value) if value.is_floating_point() else value + 1
        for key, value in network.state_dict().items()
    }


def assert_holds(network, expected):
    for key, value in network.state_dict().items():
        assert torch.equal(value, expected[key]), key


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"model": s},
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {}}, "epoch": 3},
        lambda s: {"model": "the name of it", "state_dict": s},
        lambda s: {"state_dict": {f"module.{key}": value for key, value in s.items()}},
    ],
)
def test_weights_arrive(network, saved, wrap):
    path = saved(wrap({key: value + 1 for key, value in network.state_dict().items()}))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert load_checkpoint(network, path) is network
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key] + 1)


def test_keys_that_do_not_fit_are_named(network, saved):
    state = dict(network.state_dict())
    state["extra.weight"] = state.pop("0.bias")
    state["2.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match=r"missing in the file: 0\.bias.*extra\.weight.*2\.bias \(7,\) for \(3,\)"):
        load_checkpoint(network, saved(state))


def test_missing_file_is_named(network, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no_such\.pt"):
        load_checkpoint(network, tmp_path / "no_such.pt")


def test_truncated_file_is_named(network, saved):
    path = saved(network.state_dict())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="can't be read"):
        load_checkpoint(network, path)


def test_code_in_a_file_is_not_run(network, saved):
    with pytest.raises(ValueError, match="can't be read"):
        load_checkpoint(network, saved({"model": network}))


def test_file_without_weights_is_named(network, saved):
    with pytest.raises(ValueError, match="no state dict"):
        load_checkpoint(network, saved({"epoch": 3}))


def test_prefix_stays_where_the_network_has_it_too(network, saved):
    parallel = torch.nn.DataParallel(network)
    state = randomized(parallel)
    assert_holds(load_checkpoint(parallel, saved(state)), state)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_files_leave_the_network_as_it_was(network, tmp_path, keep, zipped):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = tmp_path / "model.pt"
    torch.save(randomized(network), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"model\.pt.*can't be read"):
        load_checkpoint(network, path)
    assert_holds(network, before)


def test_network_that_does_not_fit_is_left_as_it_was(network, saved):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = randomized(network)
    state["2.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match="does not fit"):
        load_checkpoint(network, saved(state))
    assert_holds(network, before)


def test_values_that_are_no_tensors_are_named(network, saved):
    with pytest.raises(ValueError, match=r"2\.bias float for \(3,\)"):
        load_checkpoint(network, saved(network.state_dict() | {"2.bias": 0.5}))


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_training_logs_of_numpy_numbers_do_no_harm(network, saved, tmp_path, module):
    """As nnFormer's trainer writes them; NumPy 1 and 2 have different names for a number."""
    state = randomized(network)
    log = ([np.float64(0.5), np.float32(0.25), np.int64(3)], [np.mean([0.1, 0.2])])
    with zipfile.ZipFile(saved({"state_dict": state, "plot_stuff": log})) as written:
        members = {name: written.read(name) for name in written.namelist()}
    with zipfile.ZipFile(tmp_path / "published.model", "w", zipfile.ZIP_STORED) as renamed:
        for name, content in members.items():
            for own in (b"numpy._core", b"numpy.core"):
                content = content.replace(b"c" + own + b".", b"c" + module.encode() + b".")
            renamed.writestr(name, content)
    assert_holds(load_checkpoint(network, tmp_path / "published.model"), state)


def test_other_objects_beside_the_weights_are_named_with_the_way_out(network, saved):
    path = saved({"state_dict": network.state_dict(), "network": network})
    with pytest.raises(
        ValueError, match=r"torch\.nn\.modules\.container\.Sequential.*torch\.save its state dict alone"
    ):
        load_checkpoint(network, path)


def test_numpy_numbers_are_allowed_for_the_call_only(network, saved):
    path = saved({"state_dict": network.state_dict(), "loss": np.float64(1)})
    load_checkpoint(network, path)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)


def monai_0_7(network):
    """What MONAI 0.7 would have written of a UNETR."""
    state = {key: value for key, value in randomized(network).items() if "norm_cross_attn" not in key}
    state["vit.patch_embedding.cls_token"] = torch.randn(1, 1, 12)
    for name, width in {"encoder2.blocks.0": 4, "encoder2.blocks.1": 4, "encoder3.blocks.0": 8}.items():
        state[f"{name}.1.conv3.conv.weight"] = torch.randn(width, width, 1, 1, 1)
    return state


def test_unetr_of_monai_0_7_is_read(unetr, saved):
    state = monai_0_7(unetr)
    unused = {key: value.clone() for key, value in unetr.state_dict().items() if key not in state}
    assert len(unused) == 24
    load_checkpoint(unetr, saved({"state_dict": {f"module.{key}": value for key, value in state.items()}}))
    assert_holds(unetr, state | unused)


def test_unetr_of_monai_1_6_is_read(unetr, saved):
    state = randomized(unetr)
    assert_holds(load_checkpoint(unetr, saved(state)), state)


@pytest.mark.parametrize("name", ["vit.blocks.3.norm1.weight", "vit.blocks.3.norm_cross_attn.weight2", "cls_token"])
def test_no_other_key_of_unetr_may_differ(unetr, saved, name):
    state = monai_0_7(unetr)
    if name in state:
        del state[name]
    else:
        state[name] = torch.zeros(1)
    with pytest.raises(ValueError, match=f"1 (missing in the file|unknown to the network): {name}"):
        load_checkpoint(unetr, saved(state))


def test_keys_of_unetr_are_no_excuse_for_other_networks(network, saved):
    state = network.state_dict() | {"vit.patch_embedding.cls_token": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"1 unknown to the network: vit\.patch_embedding\.cls_token"):
        load_checkpoint(network, saved(state))


@pytest.mark.parametrize(
    ("build", "head"), [(tiny_unetr, "out.conv.conv.weight"), (tiny_unetrpp, "out1.conv.conv.weight")]
)
def test_another_number_of_classes_is_named(saved, build, head):
    with pytest.raises(ValueError, match=rf"{head} \(5, 2, 1, 1, 1\) for \(3, 2, 1, 1, 1\).*number of classes"):
        load_checkpoint(build(), saved(build(5).state_dict()))


def test_checkpoints_of_each_other_are_refused(unetr, saved):
    with pytest.raises(ValueError, match=r"does not fit UNETR: .*missing in the file: .*unetr_pp_encoder"):
        load_checkpoint(unetr, saved(tiny_unetrpp().state_dict()))
    with pytest.raises(ValueError, match=r"does not fit UNETRPP: .*missing in the file: .*vit\.patch_embedding"):
        load_checkpoint(tiny_unetrpp(), saved(unetr.state_dict()))


def test_the_other_published_form_is_refused(saved):
    with pytest.raises(ValueError, match=r"unknown to the network: unetr_pp_encoder\.stages\.0\.0\.conv52"):
        load_checkpoint(tiny_unetrpp(), saved(tiny_unetrpp(num_residual_blocks=2).state_dict()))


@pytest.mark.parametrize("own", [False, True])
def test_deep_supervision_does_not_matter(saved, own):
    state = randomized(tiny_unetrpp(deep_supervision=not own, shared_projection=False))
    network = tiny_unetrpp(deep_supervision=own, shared_projection=False)
    assert_holds(load_checkpoint(network, saved(state)), state)


def test_one_name_of_a_shared_tensor_is_enough(saved):
    source = tiny_unetrpp()
    state = {key: value for key, value in source.state_dict().items() if ".F." not in key}
    assert_holds(load_checkpoint(tiny_unetrpp(), saved(state)), source.state_dict())


def test_shared_tensor_that_the_file_has_twice_is_warned_of(saved):
    state = randomized(tiny_unetrpp(shared_projection=False))
    network = tiny_unetrpp()
    with pytest.warns(UserWarning, match=r"stages\.0\.0\.epa_block\.E\.weight and .*F\.weight.*the last value counts"):
        load_checkpoint(network, saved(state))
    block = "decoder3.decoder_block.0.0.epa_block"
    assert torch.equal(network.state_dict()[f"{block}.E.weight"], state[f"{block}.F.weight"])


def test_safetensors_are_read(tmp_path):
    save = pytest.importorskip("safetensors.torch")
    source = tiny_unetrpp()
    save.save_model(source, tmp_path / "model.safetensors")
    assert_holds(load_checkpoint(tiny_unetrpp(), tmp_path / "model.safetensors"), source.state_dict())
    with pytest.raises(ValueError, match="does not fit UNETR:"):
        load_checkpoint(tiny_unetr(), tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="can't be read as a safetensors file"):
        load_checkpoint(tiny_unetrpp(), tmp_path / "model.safetensors")


def test_missing_safetensors_package_is_named(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ImportError, match="pip install safetensors"):
        load_checkpoint(network, tmp_path / "model.safetensors")
