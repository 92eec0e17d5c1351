# SPDX-License-Identifier: Apache-2.0
"""Whole configs, as the zoo writes them."""

from __future__ import annotations

import numpy as np
import torch

from .parts import Config, compose

DEVICE = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"


def metadata(
    *, classes: list[str], channels: int = 1, shape: list | None = None, names_under: str = "channel_def"
) -> Config:
    """Channels are listed from the last to the first: their order is that of their numbers, not that of the file."""
    volume = {"type": "image", "spatial_shape": shape or [16, 16, 16], "dtype": "float32", "is_patch_data": True}
    names = {str(n): name for n, name in reversed(list(enumerate(classes)))}
    return {
        "version": "0.1.0",
        "monai_version": "1.6.1",
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "name": "Tiny bundle",
        "task": "Segmentation of made-up blobs",
        "network_data_format": {
            "inputs": {"image": {**volume, "format": "magnitude", "num_channels": channels}},
            "outputs": {"pred": {**volume, "format": "segmentation", "num_channels": len(classes), names_under: names}},
        },
    }


def common(network: Config, ids: Config | None = None) -> Config:
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "ckpt_dir": "$@bundle_root + '/models'",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/workspace/data/blobs",
        "images": "$sorted(glob.glob(@dataset_dir + '/imagesTr/*.nii.gz'))",
        "labels": "$sorted(glob.glob(@dataset_dir + '/labelsTr/*.nii.gz'))",
        "device": DEVICE,
        "network_def": network,
        "network": "$@network_def.to(@device)",
        **(ids or {}),
    }


def inference(
    network: Config,
    preprocessing: list[Config],
    inferer: Config,
    postprocessing: list[Config],
    *,
    data: str = "$[{'image': i} for i in @images]",
    ids: Config | None = None,
) -> Config:
    """An inference that knows no labels and fetches its weights when it is initialised."""
    return {
        **common(network, ids),
        "preprocessing": compose(preprocessing),
        "dataset": {"_target_": "Dataset", "data": data, "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": inferer,
        "postprocessing": compose(postprocessing),
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@ckpt_dir + '/model.pt'",
            "load_dict": {"model": "@network"},
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)", "$@checkpointloader(@evaluator)"],
        "run": ["$@evaluator.run()"],
    }


def train(
    network: Config,
    deterministic: list[Config],
    inferer: Config,
    *,
    random: list[Config],
    loss: Config,
    post: list[Config],
    training: str,
    validation: str,
    ids: Config | None = None,
) -> Config:
    """A training of one epoch that validates and keeps the best weights."""
    return {
        **common(network, ids),
        "epochs": 1,
        "val_interval": 1,
        "loss": loss,
        "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": 0.001},
        "train": {
            "deterministic_transforms": deterministic,
            "random_transforms": random,
            "preprocessing": compose("$@train#deterministic_transforms + @train#random_transforms"),
            "dataset": {"_target_": "Dataset", "data": training, "transform": "@train#preprocessing"},
            "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset", "batch_size": 1, "shuffle": True},
            "inferer": {"_target_": "SimpleInferer"},
            "postprocessing": compose(post),
            "handlers": [
                {
                    "_target_": "ValidationHandler",
                    "validator": "@validate#evaluator",
                    "epoch_level": True,
                    "interval": "@val_interval",
                },
                {
                    "_target_": "StatsHandler",
                    "tag_name": "train_loss",
                    "output_transform": "$monai.handlers.from_engine(['loss'], first=True)",
                },
            ],
            "trainer": {
                "_target_": "SupervisedTrainer",
                "max_epochs": "@epochs",
                "device": "@device",
                "train_data_loader": "@train#dataloader",
                "network": "@network",
                "loss_function": "@loss",
                "optimizer": "@optimizer",
                "inferer": "@train#inferer",
                "postprocessing": "@train#postprocessing",
                "train_handlers": "@train#handlers",
            },
        },
        "validate": {
            "preprocessing": compose("%train#deterministic_transforms"),
            "dataset": {"_target_": "Dataset", "data": validation, "transform": "@validate#preprocessing"},
            "dataloader": {"_target_": "DataLoader", "dataset": "@validate#dataset", "batch_size": 1},
            "inferer": inferer,
            "postprocessing": "%train#postprocessing",
            "handlers": [
                {"_target_": "StatsHandler", "iteration_log": False},
                {
                    "_target_": "CheckpointSaver",
                    "save_dir": "@ckpt_dir",
                    "save_dict": {"model": "@network"},
                    "save_key_metric": True,
                    "key_metric_filename": "model.pt",
                },
            ],
            "key_metric": {
                "val_mean_dice": {
                    "_target_": "MeanDice",
                    "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
                }
            },
            "evaluator": {
                "_target_": "SupervisedEvaluator",
                "device": "@device",
                "val_data_loader": "@validate#dataloader",
                "network": "@network",
                "inferer": "@validate#inferer",
                "postprocessing": "@validate#postprocessing",
                "key_val_metric": "@validate#key_metric",
                "val_handlers": "@validate#handlers",
            },
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)"],
        "run": ["$@train#trainer.run()"],
    }


def evaluate(postprocessing: list[Config]) -> Config:
    """What is laid over a training to score and save its validation cases."""
    return {
        "validate#postprocessing": compose(postprocessing),
        "validate#evaluator#key_val_metric": None,
        "validate#handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@ckpt_dir + '/model.pt'",
                "load_dict": {"model": "@network"},
            },
            {"_target_": "StatsHandler", "iteration_log": False},
        ],
        "run": ["$@validate#evaluator.run()"],
    }


def multi_gpu_train() -> Config:
    """What is laid over a training to run it with torchrun; on a machine without GPU the processes share the CPU."""
    return {
        "device": "$torch.device('cuda:' + os.environ['LOCAL_RANK'] if torch.cuda.is_available() else 'cpu')",
        "network": {
            "_target_": "torch.nn.parallel.DistributedDataParallel",
            "module": "$@network_def.to(@device)",
            "device_ids": "$[@device] if torch.cuda.is_available() else None",
        },
        "train#sampler": {"_target_": "DistributedSampler", "dataset": "@train#dataset", "shuffle": True},
        "train#dataloader#sampler": "@train#sampler",
        "train#dataloader#shuffle": False,
        "validate#sampler": {
            "_target_": "DistributedSampler",
            "dataset": "@validate#dataset",
            "even_divisible": False,
            "shuffle": False,
        },
        "validate#dataloader#sampler": "@validate#sampler",
        "validate#evaluator#val_handlers": "$None if dist.get_rank() > 0 else @validate#handlers",
        "initialize": [
            "$import torch.distributed as dist",
            "$dist.is_initialized() or dist.init_process_group('nccl' if torch.cuda.is_available() else 'gloo')",
            "$torch.cuda.is_available() and torch.cuda.set_device(@device)",
            "$monai.utils.set_determinism(seed=123)",
        ],
        "run": ["$@train#trainer.run()"],
        "finalize": ["$dist.is_initialized() and dist.destroy_process_group()"],
    }
