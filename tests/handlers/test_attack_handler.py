# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import EnsembleEvaluator, PrepareBatchExtraInput, SupervisedEvaluator
from monai.handlers import MeanDice, from_engine
from monai.inferers import SlidingWindowInferer
from monai.metrics import DiceMetric
from monai.transforms import AsDiscreted, Compose, Flipd, Invertd
from torch.nn.parallel import DataParallel

from monai_vafa.attacks import GaussianNoise, ProjectedGradientDescent, SlidingWindowAttack
from monai_vafa.handlers import AttackHandler


@pytest.fixture
def volumes():
    """Two volumes that are no multiple of the window."""
    draw = torch.Generator().manual_seed(4)
    return [
        {
            "image": torch.rand(1, 1, 8, 8, length, generator=draw) * 0.8 + 0.1,
            "label": torch.randint(0, 3, (1, 1, 8, 8, length), generator=draw),
        }
        for length in (12, 16)
    ]


@pytest.fixture
def evaluate(network):
    """Run an evaluator with a handler; returns it and the images that its iterations ended with."""

    def run(batches, handler, **kwargs):
        images = []

        class Record:
            def attach(self, engine):
                engine.add_event_handler(Events.ITERATION_COMPLETED, self)

            def __call__(self, engine):
                output = engine.state.output
                images.append(output["image"] if isinstance(output, dict) else output[0]["image"][None])

        arguments = {"device": torch.device("cpu"), "val_data_loader": batches, "network": network, **kwargs}
        evaluator = SupervisedEvaluator(**arguments, val_handlers=[handler, Record()])
        evaluator.run()
        return evaluator, images

    return run


def test_trainer_sees_adversarial_images_alone(network, batches, train, attack, loss_function, same_gradients):
    twin = copy.deepcopy(network)
    (losses, gradients), *_ = train(network, batches[:1], AttackHandler(attack=attack))
    image, label = batches[0]["image"], batches[0]["label"]
    loss = loss_function(twin(attack(twin, image, label)), label)
    loss.backward()
    torch.testing.assert_close(losses["loss"], loss.detach())
    assert float(losses["loss"]) != pytest.approx(float(loss_function(twin(image), label).detach()), abs=1e-4)
    same_gradients(gradients, twin)


def test_batches_that_come_again_are_still_clean(network, batches, train, attack):
    before = copy.deepcopy(batches)
    train(network, batches, AttackHandler(attack=attack), max_epochs=2)
    for one, other in zip(batches, before, strict=True):
        assert torch.equal(one["image"], other["image"])


def test_metric_under_attack_is_that_of_attacking_by_hand(network, volumes, evaluate, attack):
    inferer = SlidingWindowInferer(8, sw_batch_size=2, overlap=0.5)
    discrete = Compose([AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=3)])

    def dice():
        return {"dsc": MeanDice(output_transform=from_engine(["pred", "label"]))}

    evaluator, _ = evaluate(
        volumes, AttackHandler(attack=attack), inferer=inferer, postprocessing=discrete, key_val_metric=dice()
    )
    metric = DiceMetric(num_classes=3)
    for clean in (True, False):
        metric.reset()
        for volume in volumes:
            image, label = volume["image"], volume["label"]
            image = image if clean else SlidingWindowAttack(8)(attack, network, image, label)
            metric(inferer(image, network).argmax(1, keepdim=True), label)
        same = evaluator.state.metrics["dsc"] == pytest.approx(float(metric.aggregate()), abs=1e-6)
        assert same != clean


def test_without_a_window_the_batch_is_attacked_in_one_piece(network, batches, evaluate, attack):
    _, images = evaluate(batches[:1], AttackHandler(attack=attack), decollate=False)
    assert torch.equal(images[0], attack(network, batches[0]["image"], batches[0]["label"]))


def test_prediction_stands_in_for_a_missing_label(network, batches, evaluate, attack):
    image = batches[0]["image"]
    _, images = evaluate([{"image": image}], AttackHandler(attack=attack), decollate=False)
    assert torch.equal(images[0], attack(network, image))


def test_meta_data_and_transforms_are_kept(network, batches, evaluate, attack):
    affine = torch.diag(torch.tensor([2.0, 2, 3, 1], dtype=torch.float64))
    item = {key: MetaTensor(value[0], affine=affine) for key, value in batches[0].items()}
    flip = Compose([Flipd(["image", "label"], 0)])
    loader = DataLoader(Dataset([item], flip), batch_size=1)
    evaluator, images = evaluate(loader, AttackHandler(attack=attack), postprocessing=Invertd("pred", flip, "image"))
    assert isinstance(images[0], MetaTensor)
    assert torch.equal(evaluator.state.output[0]["image"].affine, flip(item)["image"].affine)
    flipped = {key: value[None].as_tensor() for key, value in flip(item).items()}
    adversarial = attack(network, flipped["image"], flipped["label"])
    assert torch.equal(images[0].as_tensor(), adversarial)
    prediction = evaluator.state.output[0]["pred"]
    assert torch.allclose(prediction.as_tensor(), network(adversarial)[0].flip(1), atol=1e-6)
    assert torch.equal(prediction.affine, affine)


@pytest.mark.parametrize("container", [list, tuple])
def test_batches_without_keys(network, batches, evaluate, attack, container):
    image, label = batches[0]["image"], batches[0]["label"]
    _, images = evaluate([container([image, label])], AttackHandler(attack=attack, image_key=0), decollate=False)
    assert torch.equal(images[0], attack(network, image, label))


def test_batches_with_other_keys(network, batches, evaluate, attack):
    image, label = batches[0]["image"], batches[0]["label"]

    def prepare(batch, device, non_blocking, **kwargs):
        return batch["ct"].to(device), batch["organs"].to(device)

    batch = {"ct": image, "organs": label}
    _, images = evaluate([batch], AttackHandler(attack=attack, image_key="ct"), prepare_batch=prepare, decollate=False)
    assert torch.equal(images[0], attack(network, image, label))


def test_further_inputs_reach_the_network(network, batches, evaluate, attack):
    class Scaled(torch.nn.Module):
        def forward(self, x, scale):
            return network(x) * scale

    class Negative(torch.nn.Module):
        def forward(self, x):
            return network(x) * -2

    batch = {**batches[0], "scale": torch.tensor(-2.0)}
    prepare = PrepareBatchExtraInput("scale")
    handler = AttackHandler(attack=attack)
    _, images = evaluate([batch], handler, network=Scaled(), prepare_batch=prepare, decollate=False)
    assert torch.equal(images[0], attack(Negative(), batch["image"], batch["label"]))


def test_network_is_attacked_without_its_parallel_wrapper(network, batches, evaluate, attack):
    class Wrapper(DataParallel):
        def forward(self, x):
            assert not torch.is_grad_enabled(), "attacked"
            return self.module(x)

    _, images = evaluate(batches[:1], AttackHandler(attack=attack), network=Wrapper(network), decollate=False)
    assert torch.equal(images[0], attack(network, batches[0]["image"], batches[0]["label"]))


def test_attaching_twice_attacks_once(network, batches, attack):
    evaluator = SupervisedEvaluator(device=torch.device("cpu"), val_data_loader=batches, network=network)
    handler = AttackHandler(attack=attack)
    handler.attach(evaluator)
    handler.attach(evaluator)
    calls = []
    evaluator.prepare_batch = lambda *args, prepare=evaluator.prepare_batch: calls.append(1) or prepare(*args)
    evaluator.run()
    assert len(calls) == 2 * len(batches)


@pytest.mark.parametrize(
    ("batch", "image_key"),
    [
        ({"image": 0, "label": 1, "ct": 1}, "scan"),
        ({"image": 0, "label": 1, "ct": 1}, "ct"),
        ([0, 1], "image"),
        ([0, 1], 1),
        ([0, 1], 2),
    ],
)
def test_key_that_is_not_the_image_is_named(batches, evaluate, attack, batch, image_key):
    values = list(batches[0].values())
    batch = {k: values[i] for k, i in batch.items()} if isinstance(batch, dict) else [values[i] for i in batch]
    with pytest.raises(ValueError, match=f"image_key={image_key!r}"):
        evaluate([batch], AttackHandler(attack=attack, image_key=image_key))


def test_image_that_prepare_batch_changes_is_an_error(batches, evaluate, attack):
    def prepare(batch, device, non_blocking, **kwargs):
        return batch["image"] * 2 - 1, batch["label"]

    with pytest.raises(ValueError, match="unchanged"):
        evaluate(batches, AttackHandler(attack=attack), prepare_batch=prepare)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("vafa", TypeError, "attack must be one of"),
        (ProjectedGradientDescent(targeted=True), ValueError, "attack is targeted"),
    ],
)
def test_wrong_attacks_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        AttackHandler(attack=wrong)


def test_other_engines_are_refused(network, attack):
    ensemble = EnsembleEvaluator(device=torch.device("cpu"), val_data_loader=[], networks=[network])
    for engine in (ensemble, Engine(lambda engine, batch: None)):
        with pytest.raises(TypeError, match=type(engine).__name__):
            AttackHandler(attack=attack).attach(engine)


def test_a_training_meets_new_noise_in_each_iteration(network, batches, train):
    images = []

    class Record:
        def attach(self, engine):
            engine.add_event_handler(
                Events.ITERATION_STARTED, lambda engine: images.append(engine.state.batch["image"])
            )

    attack = GaussianNoise(sigma=4)
    for _ in range(2):
        train(network, [batches[0], batches[0]], AttackHandler(attack=attack), Record(), lr=0.0)
    first, second, *again = images
    assert not torch.equal(first, second)
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
    assert attack.seed == 0


def test_an_evaluation_meets_the_same_noise_each_time(volumes, evaluate):
    _, images = evaluate([volumes[0], volumes[0]], AttackHandler(attack=GaussianNoise(sigma=4)))
    assert torch.equal(images[0], images[1])
