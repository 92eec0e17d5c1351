# SPDX-License-Identifier: Apache-2.0
"""Open the training of any segmentation bundle, to continue it under attack."""

from __future__ import annotations

import copy
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import SliceInferer

from monai_vafa.attacks import Attack
from monai_vafa.attacks.checks import check_positive
from monai_vafa.data.paths import check_path
from monai_vafa.evaluation.rows import AttackRows
from monai_vafa.handlers.attack import inner_network
from monai_vafa.target import BundleTarget, find_bundle, open_target
from monai_vafa.target.config import Parts, class_name, components, config_files, configs_in
from monai_vafa.target.preprocessing import value_range

logger = logging.getLogger(__name__)

# What saves, loads, validates and logs in a bundle's own training.
_REPLACED = (
    *("CheckpointLoader", "CheckpointSaver", "Checkpoint", "ModelCheckpoint", "TrainingCheckpoint"),
    *("StatsHandler", "TensorBoardStatsHandler", "ValidationHandler"),
)
_ENGINES = {"trainer": "train#trainer", "evaluator": "validate#evaluator"}
_CLEAN = "clean_evaluator"


class Replaced:
    """Takes the place of a handler and does nothing; multi-GPU configs of the zoo count handlers from the end."""

    def attach(self, engine: Any) -> None:
        """Do nothing."""

    __call__ = attach


@dataclass(frozen=True)
class Training:
    """The training of a bundle, opened by :func:`open_training`."""

    target: BundleTarget  # with the network that the training starts from
    parts: Parts  # builds further parts of the train config
    trainer: SupervisedTrainer  # the bundle's own
    evaluator: SupervisedEvaluator  # the bundle's own; its key metric is called ..._under_attack
    clean_evaluator: SupervisedEvaluator  # made of the same parts, for scores on clean images
    lr_scheduler: Any  # schedule of the learning rate, or None

    def attack(
        self, name: str, parameters: Mapping[str, Any] | None = None, *, seed: int = 0, validation: bool = False
    ) -> Attack:
        """
        Make an attack that fits the training: its activation, range of intensities and window.

        Args:
            name: name in the roster, see :mod:`monai_vafa.attacks.roster`.
            parameters: parameters that differ from those of the roster.
            seed: seed of the attack.
            validation: make it for the evaluator, whose images were not changed by random transforms.
        """
        engine = self.evaluator if validation else self.trainer
        transforms = getattr(getattr(engine.data_loader, "dataset", None), "transform", None)
        intensity_range = None if transforms is None else value_range(transforms, [self.target.image_key])
        common = {"activation": self.target.activation, "seed": seed}
        rows = AttackRows({name: dict(parameters or {})}, common=common)
        return rows.build(replace(self.target, intensity_range=intensity_range))[name]

    @property
    def start(self) -> dict[str, Any]:
        """What the training starts from, as plain data: bundle, configs, overrides, hash of the weights file."""
        kept = ("bundle", "configs", "overrides", "checkpoint_sha256")
        return {name: self.target.parameters[name] for name in kept}

    def finalize(self) -> None:
        """Run what the bundle does after its own training, such as to leave a process group."""
        self.parts.run("finalize")


def open_training(
    bundle: str | os.PathLike = "unetr_inference",
    *,
    ckpt_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    config_file: str | Sequence[str] | None = None,
    checkpoint: str | os.PathLike | Literal[False] | None = None,
    dataset_dir: str | os.PathLike | None = None,
    overrides: Mapping[str, Any] | None = None,
    ids: Mapping[str, str] | None = None,
    activation: str | None = None,
    device: str | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    iterations_per_epoch: int | None = None,
    learning_rate_scale: float = 1.0,
    version: str | None = None,
    source: str | None = None,
    bundle_dir: str | os.PathLike | None = None,
) -> Training:
    """
    Open the training of a segmentation bundle, ready to run, with the weights that it starts from.

    The bundle's own config builds trainer and evaluator, and its ``initialize`` is run, so that its multi-GPU configs
    work. Its handlers that save, load, validate and log are replaced by :class:`Replaced`. The configs are code, and
    building their parts runs them: open only what you trust. Nothing is written into the folder of the bundle.

    Args:
        bundle: see :func:`monai_vafa.target.open_target`.
        ckpt_dir: folder of the new weights; replaces the id of the same name.
        output_dir: folder of logs; replaces the id of the same name.
        config_file: names of files in ``configs``, or paths, each laid over those before it; ``None`` for the train
            config. ``["train.json", "multi_gpu_train.json"]`` with ``torchrun`` trains in several processes.
        checkpoint: weights to start from; ``None`` for those of the bundle, ``False`` for none.
        dataset_dir: folder of the data, laid out as the bundle expects; ``None`` for the one that the config names.
        overrides: id -> value, as on the command line of ``monai.bundle run``.
        ids: part -> id in the config: "trainer", "evaluator", and those of :func:`monai_vafa.target.open_target`.
        activation: "softmax" or "sigmoid" if :func:`monai_vafa.target.open_target` is wrong.
        device: replaces every CUDA device that the configs name; ``None`` keeps them.
        seed: replaces the id of the same name, if there is one.
        epochs: number of epochs; ``None`` for the bundle's own.
        iterations_per_epoch: ``None`` for the bundle's own.
        learning_rate_scale: factor of the bundle's own learning rate.
        version: version of a zoo bundle, see :func:`monai_vafa.target.find_bundle`.
        source: where to download a zoo bundle from, see :func:`monai_vafa.target.find_bundle`.
        bundle_dir: folder of downloaded bundles, see :func:`monai_vafa.target.find_bundle`.

    Raises:
        FileNotFoundError: If bundle, config or weights do not exist.
        ValueError: If the bundle does not segment, has no train config or validation, if a part can't be built, if the
            weights belong to another network, or if something would be written into the folder of the bundle.
    """
    folder = find_bundle(bundle, version=version, source=source, bundle_dir=bundle_dir)
    for name, path in (("ckpt_dir", ckpt_dir), ("output_dir", output_dir)):
        if Path(check_path(name, path)).resolve().is_relative_to(folder):
            raise ValueError(f"{name}={os.fspath(path)!r} is in the folder of the bundle: choose another folder.")
    for name, length in (("epochs", epochs), ("iterations_per_epoch", iterations_per_epoch)):
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
            raise ValueError(f"{name}={length!r} must be an integer, 1 or more, or None for the bundle's own.")
    check_positive("learning_rate_scale", learning_rate_scale)
    known = dict(ids or {})
    engines = {part: known.pop(part, id_) for part, id_ in _ENGINES.items()}
    there = configs_in(folder)
    if config_file is None and "train" not in there:
        names = ", ".join(sorted(path.name for path in there.values()))
        raise ValueError(f"bundle {folder.name} has no train config; it has {names}. Name one with configs.")
    files = config_files(folder, workflow=None if config_file is not None else "train", config_file=config_file)
    overrides = dict(overrides or {})
    if dataset_dir is not None:
        overrides["dataset_dir"] = os.fspath(dataset_dir)
    config = ConfigParser(ConfigParser.load_config_files([str(file) for file in files]))
    for part, id_ in engines.items():
        if not isinstance(config.get(id_), Mapping):
            raise ValueError(f"bundle {folder.name} has no {part} with the id {id_}: set ids={{{part!r}: '...'}}.")
    if (data := overrides.get("dataset_dir")) is not None and "dataset_dir" not in config:
        raise ValueError(f"dataset_dir={data!r} is not an id of bundle {folder.name}: name its data with overrides.")
    target = open_target(
        folder,
        config_file=[str(file) for file in files],
        ids=known,
        overrides=overrides,
        checkpoint=checkpoint,
        activation=activation,
        device="cpu",
    )
    parts = replace(target.parts, device=None if device is None else torch.device(device))
    parser = parts.parser
    schedule = _replace_handlers(parser)
    settings = {"ckpt_dir": os.fspath(ckpt_dir), "output_dir": os.fspath(output_dir), "seed": seed}
    lengths = {"max_epochs": epochs, "epoch_length": iterations_per_epoch}
    values = {id_: value for id_, value in settings.items() if id_ in parser}
    values |= {_value_id(parser, f"{engines['trainer']}#{key}"): length for key, length in lengths.items()}
    parser.update({id_: value for id_, value in values.items() if value is not None})
    _scale_learning_rate(parser, engines["trainer"], learning_rate_scale)
    _split_evaluator(parser, engines["evaluator"])
    parts.run("initialize")
    training = Training(
        target=target,
        parts=parts,
        trainer=parts.build("trainer", engines["trainer"]),
        evaluator=parts.build("evaluator", engines["evaluator"]),
        clean_evaluator=parts.build("evaluator", _CLEAN),
        lr_scheduler=None if schedule is None else parts.build("lr_scheduler", schedule),
    )
    _check_engines(training)
    if checkpoint is not False:
        inner_network(training.trainer.network).load_state_dict(target.network.state_dict())
    return training


def with_handlers(
    engine: Any, *, train_handlers: Sequence[Any] = (), val_handlers: Sequence[Any] = (), max_epochs: int | None = None
) -> Any:
    """
    Attach handlers to an engine of a training, after the bundle's own, and return it.

    Configs make ``train#trainer`` and ``validate#evaluator`` with it, where MONAI looks for its properties, and where
    ``--tracking`` adds handlers.
    """
    if max_epochs is not None:
        engine.state.max_epochs = max_epochs
    for handler in (*train_handlers, *val_handlers):
        handler.attach(engine)
    return engine


def run_training(trainer: SupervisedTrainer) -> None:
    """
    Run a trainer; what ends it early is told to its handlers by ``Events.INTERRUPT``.

    Raises:
        SystemExit: With code 130, after Ctrl-C.
    """
    try:
        with _quiet_interrupt():
            trainer.run()
    except BaseException as error:
        state, how = trainer.state, "Interrupted" if isinstance(error, KeyboardInterrupt) else "Failed"
        trainer.fire_event(Events.INTERRUPT)
        hint = "; resume=True goes on from last.pt" if state.epoch > 1 else ""
        logger.warning("%s in epoch %s of %s%s", how, state.epoch, state.max_epochs, hint)
        if how == "Failed":
            raise
        raise SystemExit(130) from None


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Keep the handlers that Ignite tells of Ctrl-C from logging it, each with its traceback."""
    handler, level = signal.getsignal(signal.SIGINT), logging.root.manager.disable
    if handler is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        logging.disable(logging.CRITICAL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        logging.disable(level)


def _replace_handlers(parser: ConfigParser) -> str | None:
    """Replace handlers of the bundle; gives the id of its schedule of the learning rate."""
    found = [(id_, class_name(component)) for id_, component in components(parser.get())]
    for id_, name in found:
        if name in _REPLACED and id_ in parser:
            parser[id_] = {"_target_": "monai_vafa.hardening.Replaced"}
    return next((f"{id_}#lr_scheduler" for id_, name in found if name == "LrScheduleHandler"), None)


def _value_id(parser: ConfigParser, id_: str) -> str:
    """Where the value of an id is: ``train#trainer#max_epochs`` is often ``@epochs``."""
    value = parser.get(id_)
    while isinstance(value, str) and re.fullmatch(r"@\w[\w#:]*", value):
        id_ = value[1:].replace("::", "#")
        value = parser.get(id_)
    return id_


def _scale_learning_rate(parser: ConfigParser, trainer: str, scale: float) -> None:
    if scale == 1:
        return
    id_ = _value_id(parser, f"{_value_id(parser, f'{trainer}#optimizer')}#lr")
    value = parser.get(id_)
    if value is None:
        raise ValueError(f"learning_rate_scale={scale}, but the optimizer names no lr: set it with overrides.")
    is_expression = isinstance(value, str) and value.startswith("$")
    parser[id_] = f"$({value[1:]}) * {scale}" if is_expression else float(value) * scale


def _split_evaluator(parser: ConfigParser, id_: str) -> None:
    """Write the evaluator a second time, for clean images, and tell the key metrics of the two apart."""
    metric = parser.get(_value_id(parser, f"{id_}#key_val_metric"))
    parser[_CLEAN] = {**copy.deepcopy(parser[id_]), "val_handlers": None}
    if isinstance(metric, dict) and "_target_" not in metric:
        parser[f"{_CLEAN}#key_val_metric"] = copy.deepcopy(metric)
        parser[f"{id_}#key_val_metric"] = {f"{name}_under_attack": copy.deepcopy(made) for name, made in metric.items()}


def _check_engines(training: Training) -> None:
    name, evaluator = training.target.name, training.evaluator
    for use, engine in (("train on", training.trainer), ("validate on", evaluator)):
        if engine.state.epoch_length == 0:
            raise ValueError(f"bundle {name} has no data to {use}: name its folder with dataset_dir.")
    if isinstance(evaluator.inferer, SliceInferer):
        raise ValueError(
            f"bundle {name} validates volumes slice by slice (SliceInferer), and no attack works on the batches of "
            "such a validation: name another evaluator with ids={'evaluator': '...'}."
        )
    metric = evaluator.state.key_metric_name
    if metric is None:
        raise ValueError(f"bundle {name} has no key metric: set key_val_metric of its evaluator with overrides.")
    if not re.search("dice|dsc", metric, flags=re.IGNORECASE):
        logger.warning("bundle %s: the best weights will be those of the best %s, which is not a DSC.", name, metric)
