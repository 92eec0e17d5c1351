# SPDX-License-Identifier: Apache-2.0
"""Bundles as most of the zoo is: volumes, windows, configs for training and inference."""

from __future__ import annotations

from pathlib import Path

from .configs import evaluate, inference, metadata, multi_gpu_train, train
from .files import Bundle, volumes, write, write_weights
from .parts import (
    BOTH,
    Config,
    activation,
    argmax,
    crop,
    invert,
    load,
    orient,
    save,
    sliding_window,
    space,
    unet,
    window_of_ct,
)


def softmax(root: Path) -> Bundle:
    """Three classes that exclude each other, CT units, a window that is no cube, every config that the zoo knows."""
    folder, data = root / "softmax", root / "data"
    volumes(data, count=4)
    network = unet(classes=3)
    steps = [load("image"), orient("image"), space("image", mode="bilinear"), window_of_ct("image")]
    with_label = [load(BOTH), orient(BOTH), space(BOTH, mode=["bilinear", "nearest"]), window_of_ct("image")]
    inferer = sliding_window([16, 12, 8])
    post = [activation("softmax"), invert("@preprocessing"), argmax(), save()]
    pairs = "[{'image': i, 'label': l} for i, l in zip(@images, @labels)]"
    write(
        folder,
        metadata=metadata(classes=["background", "liver", "tumour"]),
        inference=inference(network, steps, inferer, post),
        train=train(
            network,
            with_label,
            inferer,
            random=[crop([16, 12, 8])],
            loss={"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
            post=[activation("softmax"), argmax(["pred", "label"], to_onehot=3)],
            training=f"${pairs}[:2]",
            validation=f"${pairs}[2:]",
        ),
        evaluate=evaluate([activation("softmax"), invert("@validate#preprocessing"), argmax(), save()]),
        multi_gpu_train=multi_gpu_train(),
    )
    write_weights(folder)
    return Bundle(folder, data)


def sigmoid(root: Path) -> Bundle:
    """Four images of a case, three classes that overlap, labels that only the training knows to convert."""
    folder, data = root / "sigmoid", root / "brats"
    volumes(data, count=4, channels=4, labels=(0, 1, 2, 4))
    network = {
        "_target_": "SegResNet",
        "init_filters": 8,
        "in_channels": 4,
        "out_channels": 3,
        "blocks_down": [1, 1],
        "blocks_up": [1],
        "norm": ["INSTANCE", {"affine": False}],
    }
    normalise = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
    cases = [
        {"image": [f"imagesTr/case{n}_{c}.nii.gz" for c in range(4)], "label": f"labelsTr/case{n}.nii.gz"}
        for n in range(4)
    ]
    datalist = {"training": cases[:2], "validation": cases[2:], "testing": cases[2:]}

    def listed(section: str) -> str:
        return f"$monai.data.load_decathlon_datalist(@data_list_file_path, True, '{section}', @dataset_dir)"

    ids = {"data_list_file_path": "$@bundle_root + '/configs/datalist.json'"}
    inferer = sliding_window([16, 16, 16])
    threshold = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
    write(
        folder,
        datalist=datalist,
        metadata=metadata(channels=4, classes=["tumour core", "whole tumour", "enhancing tumour"]),
        inference=inference(
            network,
            [{"_target_": "LoadImaged", "keys": "image"}, normalise],
            inferer,
            [activation("sigmoid"), invert("@preprocessing"), threshold, save()],
            data=listed("testing"),
            ids=ids,
        ),
        train=train(
            network,
            [
                {"_target_": "LoadImaged", "keys": BOTH},
                {"_target_": "ConvertToMultiChannelBasedOnBratsClassesd", "keys": "label"},
                normalise,
            ],
            inferer,
            random=[crop([16, 16, 16])],
            loss={"_target_": "DiceLoss", "sigmoid": True},
            post=[activation("sigmoid"), threshold],
            training=listed("training"),
            validation=listed("validation"),
            ids=ids,
        ),
        evaluate=evaluate([activation("sigmoid"), invert("@validate#preprocessing"), threshold, save()]),
        multi_gpu_train=multi_gpu_train(),
    )
    write_weights(folder)
    return Bundle(folder, data)


def yaml_configs(root: Path) -> Bundle:
    """YAML, and a preprocessing that crops and pads; its network is trained with deep supervision."""
    folder, data = root / "yaml_configs", root / "data"
    volumes(data, count=4)
    network = {
        "_target_": "monai.networks.nets.SegResNetDS",
        "init_filters": 4,
        "in_channels": 1,
        "out_channels": 3,
        "blocks_down": [1, 1],
        "dsdepth": 2,
        "norm": "instance",
    }

    def steps(keys: str | list[str], mode: str | list[str]) -> list[Config]:
        return [
            load(keys),
            space(keys, mode),
            window_of_ct("image"),
            {"_target_": "CropForegroundd", "keys": keys, "source_key": "image"},
            {"_target_": "SpatialPadd", "keys": keys, "spatial_size": [28, 20, 20]},
        ]

    inferer = sliding_window([16, 16, 16])
    write(
        folder,
        suffix=".yaml",
        metadata=metadata(classes=["background", "liver", "tumour"], names_under="label_def"),
        inference=inference(
            network,
            steps("image", "bilinear"),
            inferer,
            [activation("softmax"), invert("@preprocessing"), argmax(), save()],
        ),
        train=train(
            network,
            steps(BOTH, ["bilinear", "nearest"]),
            inferer,
            random=[crop([16, 16, 16])],
            loss={
                "_target_": "monai.losses.DeepSupervisionLoss",
                "loss": {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
            },
            post=[],
            training="$[{'image': i, 'label': l} for i, l in zip(@images, @labels)]",
            validation="$[{'image': i, 'label': l} for i, l in zip(@images, @labels)]",
        ),
        evaluate=evaluate([activation("softmax"), invert("@validate#preprocessing"), argmax(), save()]),
    )
    write_weights(folder)
    return Bundle(folder, data)
