# SPDX-License-Identifier: Apache-2.0
"""One iteration of VAFT against its three terms, written out."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.data import MetaTensor
from monai.engines import PrepareBatchExtraInput
from monai.inferers import SimpleInferer
from monai.losses import DiceLoss

from monai_vafa.attacks import VolumetricFrequencyAttack
from monai_vafa.handlers import VAFTHandler
from monai_vafa.losses import FrequencyConsistencyLoss
from monai_vafa.outputs import as_logits

TERMS = ["loss_clean", "loss_adversarial", "loss_frequency"]


def three_terms(network, batch, attack, loss, frequency_loss=None, adversarial_loss=None, inputs=()):
    """The paper's Eq. 3, in the order of the authors' code."""
    image, label = batch["image"], batch["label"]
    adversarial = attack(network, image, label)
    network.train()
    clean, attacked = network(image, *inputs), network(adversarial, *inputs)
    frequency = (frequency_loss or FrequencyConsistencyLoss())(as_logits(attacked), as_logits(clean))
    return loss(clean, label), (adversarial_loss or loss)(attacked, label), frequency


def check_losses(losses, terms, **kwargs):
    for name, term in zip(TERMS, terms, strict=True):
        torch.testing.assert_close(losses[name], term.detach(), msg=lambda m, name=name: f"{name}: {m}", **kwargs)
    # so that a clean image in the place of an adversarial one would be noticed
    assert float(losses["loss_adversarial"] - losses["loss_clean"]) != pytest.approx(0, abs=1e-4)
    assert float(losses["loss_frequency"]) > 1e-3


def test_iteration_is_the_three_terms(network, batches, train, attack, loss_function, same_gradients):
    twin = copy.deepcopy(network)
    (losses, gradients), *_ = train(network, batches[:1], VAFTHandler(attack=attack))
    terms = three_terms(twin, batches[0], attack, loss_function)
    sum(terms).backward()
    check_losses(losses, terms)
    torch.testing.assert_close(losses["loss"], sum(terms).detach())
    same_gradients(gradients, twin)


def test_weights_and_losses_of_the_terms(network, batches, train, attack, loss_function, same_gradients):
    twin = copy.deepcopy(network)
    own = {"adversarial_loss": DiceLoss(to_onehot_y=True, softmax=True)}
    own["frequency_loss"] = FrequencyConsistencyLoss(block_size=4)
    handler = VAFTHandler(attack=attack, clean_weight=0.5, adversarial_weight=2, frequency_weight=3, **own)
    (losses, gradients), *_ = train(network, batches[:1], handler)
    terms = three_terms(twin, batches[0], attack, loss_function, **own)
    (0.5 * terms[0] + 2 * terms[1] + 3 * terms[2]).backward()
    for name, term in zip(TERMS, terms, strict=True):
        torch.testing.assert_close(losses[name], term.detach())
    same_gradients(gradients, twin)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"frequency_loss": None}, [0, 1]),
        ({"frequency_weight": 0}, [0, 1]),
        ({"clean_weight": 0}, [1, 2]),
        ({"adversarial_weight": 0}, [0, 2]),
    ],
)
def test_terms_can_be_left_out(network, batches, train, attack, loss_function, same_gradients, options, kept):
    twin = copy.deepcopy(network)
    (losses, gradients), *_ = train(network, batches[:1], VAFTHandler(attack=attack, **options))
    terms = three_terms(twin, batches[0], attack, loss_function)
    total = sum(terms[i] for i in kept)
    total.backward()
    torch.testing.assert_close(losses["loss"], total.detach())
    same_gradients(gradients, twin)
    # the clean loss costs nothing, what else is left out is not computed
    assert [name for name in TERMS if name in losses] == [TERMS[i] for i in sorted({0, *kept})]


def test_gradients_accumulate(network, batches, train, attack, loss_function, same_gradients):
    twin = copy.deepcopy(network)
    seen = train(network, batches, VAFTHandler(attack=attack), accumulation_steps=3)
    terms = [three_terms(twin, batch, attack, loss_function) for batch in batches]
    (sum(sum(t) for t in terms) / 3).backward()
    for (losses, _), own in zip(seen, terms, strict=True):
        check_losses(losses, own)
    same_gradients(seen[-1][1], twin)


def test_mixed_precision(network, batches, train, attack, loss_function, same_gradients, monkeypatch):
    """MONAI's trainer asks for autocast and scaler of CUDA by name, which are idle without a GPU: ask the CPU's."""
    autocast, scale = torch.autocast, 1024.0

    def on_cpu(device_type, **kwargs):
        kwargs = {"dtype": torch.bfloat16} if device_type == "cuda" else kwargs
        return autocast("cpu", **kwargs)

    dtypes = []
    network[2].register_forward_hook(lambda module, _, output: dtypes.append((module.training, output.dtype)))
    twin = copy.deepcopy(network)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "autocast", on_cpu)
        patch.setattr(torch.cuda.amp, "GradScaler", lambda: torch.amp.GradScaler("cpu", init_scale=scale))
        (losses, gradients), *_ = train(network, batches[:1], VAFTHandler(attack=attack), amp=True)
    # the attack has its own precision; both forward passes that are trained have the trainer's
    assert dtypes == [(False, torch.float32)] * 2 + [(True, torch.bfloat16)] * 2
    adversarial = attack(twin, batches[0]["image"], batches[0]["label"])
    twin.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        clean, attacked = twin(batches[0]["image"]), twin(adversarial)
        terms = [loss_function(logits, batches[0]["label"]) for logits in (clean, attacked)]
    terms.append(FrequencyConsistencyLoss()(attacked.float(), clean.float()))
    check_losses(losses, terms)
    (sum(terms) * scale).backward()
    same_gradients(gradients, twin, rtol=1e-2, atol=1e-4 * scale)


class WithBatchNorm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.BatchNorm3d(4), torch.nn.GELU())
        self.head = torch.nn.Conv3d(4, 3, 1)

    def forward(self, image):
        return self.head(self.body(image))


class DeepSupervision(WithBatchNorm):
    """Full resolution and a coarse output in training mode, as UNETR++; the container is given."""

    def __init__(self, container):
        super().__init__()
        self.container = container

    def forward(self, image):
        full = super().forward(image)
        return self.container([full, torch.nn.functional.avg_pool3d(full, 2)]) if self.training else full


def test_batch_norm_counts_both_passes(batches, train, attack, loss_function, same_gradients):
    torch.manual_seed(0)
    network = WithBatchNorm()
    # the attack sees running statistics, so it matters that it comes before the clean pass
    network.body[1].running_mean.fill_(0.1)
    twin = copy.deepcopy(network)
    (losses, gradients), *_ = train(network, batches[:1], VAFTHandler(attack=attack))
    terms = three_terms(twin, batches[0], attack, loss_function)
    sum(terms).backward()
    check_losses(losses, terms)
    same_gradients(gradients, twin)
    assert network.body[1].num_batches_tracked == 2
    for name, buffer in twin.named_buffers():
        assert torch.equal(network.get_buffer(name), buffer), name


@pytest.mark.parametrize(
    "container", [list, tuple, lambda outputs: dict(zip(["pred", "coarse"], outputs, strict=True))]
)
def test_deep_supervision(batches, train, attack, loss_function, same_gradients, container):
    torch.manual_seed(0)
    network = DeepSupervision(container)
    twin = copy.deepcopy(network)

    def loss(outputs, label):
        full, coarse = outputs.values() if isinstance(outputs, dict) else outputs
        return loss_function(full, label) + 0.5 * loss_function(coarse, label[..., ::2, ::2, ::2])

    handler = VAFTHandler(attack=attack)
    (losses, gradients), *_ = train(network, batches[:1], handler, loss_function=loss, decollate=False)
    terms = three_terms(twin, batches[0], attack, loss)
    sum(terms).backward()
    check_losses(losses, terms)
    same_gradients(gradients, twin)


class Scaled(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image, scale=None):
        return self.network(image) * scale


@pytest.mark.parametrize("extra_keys", ["scale", {"scale": "scale"}])
def test_further_inputs_reach_the_network(network, batches, train, loss_function, same_gradients, extra_keys):
    attack = VolumetricFrequencyAttack(steps=2, block_size=8, loss=loss_function)
    # of both signs, so that an attack without it goes the wrong way
    batch = {**batches[0], "scale": torch.tensor([-2.0, 3.0]).reshape(2, 1, 1, 1, 1)}
    network = Scaled(network)
    twin = copy.deepcopy(network)
    prepare = PrepareBatchExtraInput(extra_keys)
    (losses, gradients), *_ = train(network, [batch], VAFTHandler(attack=attack), prepare_batch=prepare)

    class Bound(Scaled):
        def forward(self, image, scale=batch["scale"]):
            return super().forward(image, scale)

    terms = three_terms(Bound(twin.network), batch, attack, loss_function)
    sum(terms).backward()
    check_losses(losses, terms)
    same_gradients(gradients, twin)


def test_meta_tensors_train_like_tensors(network, batches, train, attack, same_gradients):
    twin = copy.deepcopy(network)
    with_meta = [{key: MetaTensor(value) for key, value in batch.items()} for batch in batches]
    types = []
    network.register_forward_hook(lambda module, inputs, _: types.append((module.training, type(inputs[0]))))
    seen = train(network, with_meta, VAFTHandler(attack=attack))
    assert types[-2:] == [(True, MetaTensor)] * 2
    for one, other in zip(seen, train(twin, batches, VAFTHandler(attack=attack)), strict=True):
        same_gradients(one[1], other[1])


@pytest.mark.filterwarnings("ignore:Will convert to PyTorch Tensor")
def test_compiled_network(network, batches, train, attack, loss_function, same_gradients):
    """MONAI takes the meta data off its inputs, since they can't be compiled."""
    twin, types = copy.deepcopy(network), []

    class Spy(SimpleInferer):
        def __call__(self, inputs, network, *args, **kwargs):
            types.append(type(inputs))
            return super().__call__(inputs, network, *args, **kwargs)

    options = {"compile": True, "compile_kwargs": {"backend": "eager"}, "inferer": Spy()}
    with_meta = {key: MetaTensor(value) for key, value in batches[0].items()}
    (losses, gradients), *_ = train(network, [with_meta], VAFTHandler(attack=attack), **options)
    assert types == [torch.Tensor] * 2
    terms = three_terms(twin, batches[0], attack, loss_function)
    sum(terms).backward()
    check_losses(losses, terms)
    same_gradients(gradients, twin)
