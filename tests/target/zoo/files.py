# SPDX-License-Identifier: Apache-2.0
"""Files of bundles: configs, weights, data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from monai.bundle import ConfigParser

from monai_vafa.target.scripts import BundleModules

from .parts import Config


@dataclass(frozen=True)
class Bundle:
    """
    A bundle of this module.

    Args:
        folder: of the bundle.
        data: of its cases; stands in for ``dataset_dir``.
        saves: name pattern of the files that its inference writes.
        run_id: what ``monai.bundle run`` is to run.
    """

    folder: Path
    data: Path
    saves: str = "*_trans.nii.gz"
    run_id: str = "run"

    @property
    def overrides(self) -> dict[str, str]:
        return {"dataset_dir": str(self.data)}


def write(folder: Path, *, suffix: str = ".json", **configs: Config) -> None:
    """Write ``configs/NAME`` for each; metadata and data lists are JSON in any bundle."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    for name, content in configs.items():
        if suffix == ".yaml" and name != "metadata":
            # By way of JSON, so that no YAML anchors stand for what two configs share.
            text, path = yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False), f"{name}.yaml"
        else:
            text, path = json.dumps(content, indent=2), f"{name}.json"
        (folder / "configs" / path).write_text(text)


def change(folder: Path, name: str, **ids: Any) -> None:
    """Set ids of a JSON config, or take away those that become ``None``."""
    path = folder / "configs" / f"{name}.json"
    content = {**json.loads(path.read_text()), **ids}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def change_output(folder: Path, **facts: Any) -> None:
    """Set what the metadata says of the network's output."""
    path = folder / "configs" / "metadata.json"
    content = json.loads(path.read_text())
    content["network_data_format"]["outputs"]["pred"].update(facts)
    path.write_text(json.dumps(content))


def write_weights(folder: Path, *, file: str = "model.pt", wrapper: str | None = None) -> Path:
    """Weights of the network of the inference config, the same each time; alone, or under a key beside others."""
    config = ConfigParser.load_config_file(next((folder / "configs").glob("inference.*")))
    with torch.random.fork_rng(devices=[]), BundleModules(folder):
        torch.manual_seed(0)
        network = ConfigParser({"network": config["network_def"]}).get_parsed_content("network")
        state = network.state_dict()
        for name, value in state.items():
            # Running means of a batch norm, without which nothing would tell eval from train mode.
            if name.endswith("running_mean"):
                value += 0.1 * torch.randn_like(value)
            elif name.endswith("weight") and value.ndim > 2:
                value *= 2
    path = folder / "models" / file
    path.parent.mkdir(exist_ok=True)
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, path)
    return path


def volumes(data: Path, *, count: int, channels: int = 1, labels: tuple[int, ...] = (0, 1, 2)) -> None:
    """Blobs in noise, in CT units, on a grid that is turned, anisotropic and not at the origin; empty at its border."""
    rng = np.random.default_rng(0)
    affine = np.array([[-1.2, 0, 0, 31], [0, 0, 0.9, -7], [0, 1.1, 0, 12], [0, 0, 0, 1]])
    for name in ("imagesTr", "labelsTr"):
        (data / name).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        label = np.zeros((22, 18, 20), np.uint8)
        for i, value in enumerate(labels[1:]):
            start = 3 + 3 * i + n
            label[start : start + 8, start : start + 7, 4:14] = value
        nib.save(nib.Nifti1Image(label, affine), data / "labelsTr" / f"case{n}.nii.gz")
        for c in range(channels):
            image = rng.normal(20, 30, label.shape) + (30 + 10 * c) * label
            image[:2], image[:, :, -2:] = (0, 0) if channels > 2 else (-200, -200)
            postfix = f"_{c}" if channels > 1 else ""
            nib.save(nib.Nifti1Image(image.astype(np.float32), affine), data / "imagesTr" / f"case{n}{postfix}.nii.gz")
