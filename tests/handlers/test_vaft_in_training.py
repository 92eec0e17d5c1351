# SPDX-License-Identifier: Apache-2.0
"""VAFT beside the other parts of a training: schedules, random state, logs, configs, errors."""

from __future__ import annotations

import copy
import json
import logging
import random
import re

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from monai.data import DataLoader, Dataset
from monai.engines import IterationEvents, SupervisedEvaluator
from monai.handlers import StatsHandler
from monai.transforms import RandGaussianNoised
from monai.utils import set_determinism

from monai_vafa.attacks import ProjectedGradientDescent, VolumetricFrequencyAttack
from monai_vafa.handlers import AttackHandler, VAFTHandler, vaft_losses


def test_every_and_warmup(network, batches, train, attack):
    seen = train(network, batches, VAFTHandler(attack=attack, every=2, warmup_epochs=1), max_epochs=3)
    attacked = [i for i, (losses, _) in enumerate(seen, 1) if "loss_adversarial" in losses]
    assert attacked == [4, 6, 8]
    for i, (losses, _) in enumerate(seen, 1):
        assert (losses["loss"] > losses["loss_clean"]) == (i in attacked)


def test_other_iterations_are_the_trainers_own(network, batches, train, attack, same_gradients):
    twin = copy.deepcopy(network)
    own = train(network, batches[:1], VAFTHandler(attack=attack, warmup_epochs=1, clean_weight=0), max_epochs=2)
    plain = train(twin, batches[:1])
    assert torch.equal(own[0][0]["loss"], plain[0][0]["loss"])
    same_gradients(own[0][1], plain[0][1])


def test_the_second_term_alone_is_plain_adversarial_training(network, batches, train, attack):
    """The trainer's own pass takes the adversarial batch, as with AttackHandler; other iterations are its own."""
    twin = copy.deepcopy(network)
    handler = VAFTHandler(attack=attack, clean_weight=0, frequency_weight=0, adversarial_weight=0.5, every=2)
    own = train(network, batches[:2], handler)
    plain = train(twin, batches[:1])
    torch.testing.assert_close(own[0][0]["loss"], plain[0][0]["loss"])
    (losses, _), *_ = train(twin, batches[1:2], AttackHandler(attack=handler_seed(attack, 1)))
    assert own[1][0].keys() == {"loss", "loss_adversarial"}
    torch.testing.assert_close(own[1][0]["loss_adversarial"], losses["loss"])
    torch.testing.assert_close(own[1][0]["loss"], 0.5 * losses["loss"])


def handler_seed(attack, more):
    """The attack as it is so many iterations later."""
    later = copy.copy(attack)
    later.seed += more
    return later


def test_attack_leaves_no_trace(batches, train, attack):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.BatchNorm3d(4), torch.nn.Dropout(0.5), torch.nn.Conv3d(4, 3, 1)
    )
    network[0].bias.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad])
    snapshots = []

    class Snapshot:
        def attach(self, engine):
            engine.add_event_handler(Events.ITERATION_STARTED, self)

        def __call__(self, engine):
            snapshots.append(
                copy.deepcopy(
                    {
                        "network": network.state_dict(),
                        "gradients": [p.grad for p in network.parameters()],
                        "needs_grad": [p.requires_grad for p in network.parameters()],
                        "modes": [module.training for module in network.modules()],
                        "optimizer": optimizer.state_dict(),
                        "batch": engine.state.batch,
                        "random": (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()),
                    }
                )
            )

    handler = VAFTHandler(attack=attack)
    seen = train(network, batches, Snapshot(), handler, Snapshot(), optimizer=optimizer)
    assert all("loss_adversarial" in losses for losses, _ in seen)
    before, after = snapshots[0::2], snapshots[1::2]
    assert before[2]["optimizer"]["state"]
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_data_pipeline_draws_the_same_numbers(network, batches, train):
    items = [{"image": b["image"][0], "label": b["label"][0]} for b in batches]

    def images(*handlers):
        seen = []

        class Record:
            def attach(self, engine):
                engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

            def __call__(self, engine):
                seen.append(engine.state.output["image"].clone())

        set_determinism(0)
        try:
            noise = RandGaussianNoised("image", prob=0.5, std=0.01)
            train(network, DataLoader(Dataset(items, noise), shuffle=True), *handlers, Record(), max_epochs=2)
        finally:
            set_determinism(None)
        return torch.cat(seen)

    plain = images()
    assert len(plain.unique(dim=0)) > 3
    # an attack that draws numbers itself
    assert torch.equal(images(VAFTHandler(attack=ProjectedGradientDescent(steps=1))), plain)


@pytest.fixture
def messages():
    """What is logged under the name of vaft."""
    records = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger("vaft").addHandler(handler)
    yield records
    logging.getLogger("vaft").removeHandler(handler)


def test_losses_by_name_for_logs(network, batches, train, attack, messages):
    stats = StatsHandler(output_transform=vaft_losses, name="vaft", epoch_log=False)
    train(network, batches[:1], VAFTHandler(attack=attack, warmup_epochs=1), stats, max_epochs=2)
    first, second = messages
    assert "loss_clean:" in first
    assert "loss_adversarial:" not in first
    for name in ("loss:", "loss_clean:", "loss_adversarial:", "loss_frequency:"):
        assert name in second
    assert vaft_losses({"loss": 1.0, "pred": 2.0}) == {"loss": 1.0}


CONFIG = {
    "imports": ["$import monai_vafa", "$import torch"],
    "network": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 3, "kernel_size": 3, "padding": 1},
    "vaft": {
        "_target_": "monai_vafa.handlers.VAFTHandler",
        "attack": {"_target_": "monai_vafa.attacks.VolumetricFrequencyAttack", "steps": 1, "block_size": 8},
        "frequency_loss": {"_target_": "monai_vafa.losses.FrequencyConsistencyLoss", "block_size": 4},
        "warmup_epochs": 0,
    },
    "handlers": [
        {
            "_target_": "StatsHandler",
            "name": "vaft",
            "epoch_log": False,
            "output_transform": "$monai_vafa.handlers.vaft_losses",
        }
    ],
    "trainer": {
        "_target_": "SupervisedTrainer",
        "device": "$torch.device('cpu')",
        "max_epochs": 1,
        "train_data_loader": "$[{'image': torch.rand(1, 1, 8, 8, 8), 'label': torch.ones(1, 1, 8, 8, 8)}]",
        "network": "@network",
        "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.1},
        "loss_function": {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
        "train_handlers": "@handlers",
    },
    "initialize": [],
    "run": ["$@trainer.run()"],
}


@pytest.mark.parametrize("places", [("handlers",), ("initialize",), ("handlers", "initialize")])
def test_from_json(places, tmp_path, messages):
    """In both places, as when a config for several processes attaches what the first one has already."""
    config = copy.deepcopy(CONFIG)
    if "handlers" in places:
        config["handlers"].insert(0, "@vaft")
    if "initialize" in places:
        config["initialize"].append("$@vaft.attach(@trainer)")
    (tmp_path / "train.json").write_text(json.dumps(config))
    workflow = ConfigWorkflow(str(tmp_path / "train.json"))
    workflow.initialize()
    workflow.run()
    (message,) = messages
    losses = dict(re.findall(r"(\w+): (\d+\.\d+)", message))
    terms = [float(losses[name]) for name in ("loss_clean", "loss_adversarial", "loss_frequency")]
    assert float(losses["loss"]) == pytest.approx(sum(terms), abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"attack": "vafa"}, TypeError, "attack must be one of"),
        ({"attack": ProjectedGradientDescent(targeted=True)}, ValueError, "attack is targeted"),
        ({"clean_weight": -1}, ValueError, "clean_weight=-1"),
        ({"adversarial_weight": float("nan")}, ValueError, "adversarial_weight=nan"),
        ({"frequency_weight": -0.5}, ValueError, "frequency_weight=-0.5"),
        ({"clean_weight": 0, "adversarial_weight": 0}, ValueError, "both 0"),
        ({"adversarial_weight": 0, "frequency_loss": None}, ValueError, "no effect"),
        ({"every": 0}, ValueError, "every=0"),
        ({"warmup_epochs": 1.5}, ValueError, "warmup_epochs=1.5"),
    ],
)
def test_wrong_parameters_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        VAFTHandler(**wrong)


def test_default_attack_is_vafa_as_released():
    attack = VAFTHandler().attack
    assert isinstance(attack, VolumetricFrequencyAttack)
    assert attack.recipe == "upstream"


def test_other_engines_are_refused(network):
    evaluator = SupervisedEvaluator(device=torch.device("cpu"), val_data_loader=[], network=network)
    for engine in (evaluator, Engine(lambda engine, batch: None)):
        with pytest.raises(TypeError, match=type(engine).__name__):
            VAFTHandler().attach(engine)


def test_static_graph_needs_the_pass_of_the_trainer(network, batches, train, attack, loss_function):
    """What DistributedDataParallel does then depends on its own forward pass; a flag stands in for it here."""
    network.static_graph = True
    train(network, batches, VAFTHandler(attack=attack, clean_weight=0))
    alone = {"attack": attack, "clean_weight": 0, "frequency_loss": None}
    train(network, batches, VAFTHandler(**alone))
    with pytest.raises(ValueError, match="static_graph"):
        train(network, batches, VAFTHandler(**alone, adversarial_loss=loss_function))


class Change:
    """Another image than the one that was attacked."""

    def attach(self, engine):
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine):
        engine.state.batch = {**engine.state.batch, "image": engine.state.batch["image"] * 0.5}


def test_image_that_changes_after_the_attack_is_an_error(network, batches, train, attack):
    train(network, batches, Change(), VAFTHandler(attack=attack))
    with pytest.raises(ValueError, match="not the one that was attacked"):
        train(network, batches, VAFTHandler(attack=attack), Change())


def test_iteration_without_the_event_is_an_error(network, batches, train, attack):
    handler = VAFTHandler(attack=attack, every=2)
    with pytest.raises(RuntimeError, match="LOSS_COMPLETED"):
        train(network, batches, handler, iteration_update=lambda engine, batch: {})
    # and what was not used is not left for the next run
    (losses, _), *_ = train(network, batches[1:], handler)
    assert "loss_adversarial" not in losses


@pytest.mark.parametrize("options", [{"warmup_epochs": 2}, {"warmup_epochs": 5}, {"every": 7}, {"every": 100}])
def test_a_training_without_an_attack_is_refused(options, network, batches, train, attack):
    """Two epochs of three iterations."""
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match=r"leave no iteration with an attack in 2 epochs of 3 iterations"):
        train(network, batches, VAFTHandler(attack=attack, **options), max_epochs=2)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    seen = train(network, batches, VAFTHandler(attack=attack, warmup_epochs=1, every=6), max_epochs=2)
    assert ["loss_adversarial" in losses for losses, _ in seen] == [False] * 5 + [True]


@pytest.mark.parametrize("alone", [False, True])
def test_a_training_that_was_not_attacked_says_so(alone, network, batches, train, attack, caplog):
    weights = {"clean_weight": 0, "frequency_weight": 0} if alone else {}
    train(network, batches, VAFTHandler(attack=attack, **weights))
    assert "VAFT attacked" not in caplog.text
    unchanged = VAFTHandler(attack=Nothing(), **weights)
    train(network, batches, unchanged)
    assert "VAFT attacked in 3 iterations and changed no image" in caplog.text

    class Stop:
        def attach(self, engine):
            engine.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda engine: engine.terminate())

    train(network, batches, VAFTHandler(attack=attack, warmup_epochs=1, **weights), Stop(), max_epochs=2)
    assert "VAFT attacked in 0 iterations" in caplog.text


class Nothing(VolumetricFrequencyAttack):
    """An attack in vain."""

    def __call__(self, network, image, label=None):
        return image.clone()
