# SPDX-License-Identifier: Apache-2.0
"""Bundles that do something in a way of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .configs import inference, metadata
from .files import Bundle, volumes, write, write_weights
from .parts import activation, argmax, invert, load, save, space, unet, window_of_ct

SCRIPTS = '''\
import torch
from monai.transforms import MapTransform


class TwoScales(torch.nn.Module):
    """Logits at full and at half resolution, in eval mode too."""

    def __init__(self, channels, classes):
        super().__init__()
        self.first = torch.nn.Conv3d(channels, 6, 3, padding=1)
        self.last = torch.nn.Conv3d(6, classes, 3, padding=1)

    def forward(self, x):
        logits = self.last(torch.nn.functional.softplus(self.first(x)))
        return [logits, torch.nn.functional.avg_pool3d(logits, 2)]


class Joind(MapTransform):
    """Put single-channel volumes together."""

    def __init__(self, keys, name):
        super().__init__(keys)
        self.name = name

    def __call__(self, data):
        return {**data, self.name: torch.cat([data[key] for key in self.keys])}
'''


def own_scripts(root: Path) -> Bundle:
    """
    Everything where no other bundle has it: network, transform and loss-free output in ``scripts``, an image of two
    files under keys of their own, all resolutions of deep supervision at once, weights under another name and key.
    """
    folder, data = root / "own_scripts", root / "phases"
    volumes(data, count=2, channels=2)
    (folder / "scripts").mkdir(parents=True, exist_ok=True)
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "parts.py").write_text(SCRIPTS)
    keys = ["arterial", "venous"]
    glob = "sorted(glob.glob(@dataset_dir + '/imagesTr/*_{}.nii.gz'))"
    data_of = f"$[{{'arterial': a, 'venous': v}} for a, v in zip({glob.format(0)}, {glob.format(1)})]"
    config = inference(
        {"_target_": "scripts.parts.TwoScales", "channels": 2, "classes": 3},
        [
            load(keys),
            space(keys, "bilinear"),
            window_of_ct(keys),
            {"_target_": "scripts.parts.Joind", "keys": keys, "name": "image"},
        ],
        {"_target_": "SimpleInferer"},
        [
            {"_target_": "Lambdad", "keys": "pred", "func": "$lambda pred: pred[0]", "track_meta": False},
            {"_target_": "EnsureTyped", "keys": "pred", "track_meta": True},
            activation("softmax"),
            invert("@preprocessing", orig_keys="arterial"),
            argmax(),
            save(),
        ],
        data=data_of,
    )
    del config["checkpointloader"], config["initialize"]
    config["handlers"] = [
        {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/final.pt'",
            "load_dict": {"net": "@network"},
        }
    ]
    write(folder, metadata=metadata(channels=2, classes=["background", "liver", "tumour"]), inference=config)
    write_weights(folder, file="final.pt", wrapper="net")
    return Bundle(folder, data)


def slices(root: Path) -> Bundle:
    """A 2-D network that is asked about the slices of volumes; per-volume scaling, "evaluating" instead of "run"."""
    folder, data = root / "slices", root / "data"
    volumes(data, count=4)
    config = inference(
        unet(classes=4, spatial_dims=2),
        [load("image"), {"_target_": "ScaleIntensityd", "keys": "image"}],
        {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2},
        [activation("softmax"), invert("@preprocessing"), argmax(), save()],
    )
    config["evaluating"] = config.pop("run")
    write(
        folder,
        metadata=metadata(classes=["background", "pool", "wall", "right"], shape=["16*n", "16*n"]),
        inference=config,
    )
    write_weights(folder)
    return Bundle(folder, data, run_id="evaluating")


def pictures(root: Path) -> Bundle:
    """2-D colour images, resized, taken whole; only argmax tells that the two classes exclude each other."""
    folder, data = root / "pictures", root / "pictures_data"
    rng = np.random.default_rng(0)
    for name in ("imagesTr", "labelsTr"):
        (data / name).mkdir(parents=True, exist_ok=True)
    for n in range(2):
        label = np.zeros((30, 26), np.uint8)
        label[8:20, 6:18] = 1
        colours = rng.integers(0, 60, (30, 26, 3)) + 120 * label[..., None]
        Image.fromarray(colours.astype(np.uint8)).save(data / "imagesTr" / f"case{n}.png")
        Image.fromarray(label).save(data / "labelsTr" / f"case{n}.png")
    images = "$sorted(glob.glob(@dataset_dir + '/imagesTr/*.png'))"
    config = inference(
        unet(classes=2, channels=3, spatial_dims=2),
        [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": -1},
            {"_target_": "Resized", "keys": "image", "spatial_size": [32, 16]},
            {"_target_": "ScaleIntensityd", "keys": "image"},
        ],
        {"_target_": "SimpleInferer"},
        [
            invert("@preprocessing"),
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {**save(), "output_ext": ".png", "scale": 255},
        ],
        ids={"images": images},
    )
    write(folder, metadata=metadata(channels=3, classes=["background", "tool"], shape=[32, 16]), inference=config)
    write_weights(folder)
    return Bundle(folder, data, saves="*_trans.png")
