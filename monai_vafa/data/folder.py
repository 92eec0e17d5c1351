# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Images and labels in a folder of the user."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import load_decathlon_datalist

logger = logging.getLogger(__name__)

_SECTIONS = ("validation", "training", "test")
_VOLUMES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".img", ".hdr", ".npy", ".npz")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# A header whose data file of the same name is what a reader is given.
_HEADERS = {".hdr": ".img"}
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_LABELS = re.compile(r"labels?(tr|ts|val)?|masks?|seg(mentation)?s?|annotations?|ground_?truth|gt", re.IGNORECASE)
_IMAGES = {"imagesTr": "labelsTr", "images": "labels", "imagesTs": "labelsTs", ".": "labels"}
_NOT_DATA = (".json", ".txt", ".md", ".csv", ".tsv", ".xlsx", ".pdf", ".yaml", ".yml", ".html", ".py", ".log", ".zip")


def folder_cases(
    folder: str | os.PathLike, *, section: str | None = None, channels: int | None = None
) -> list[dict[str, Any]]:
    """
    List the images of a folder, with their labels where there are any.

    Known layouts, the first that fits: a Decathlon ``dataset.json``; files in ``imagesTr``, in ``images`` or in the
    folder itself, with labels of the same names in ``labelsTr``, ``labels``, ``labels/final`` and similar folders. The
    files are volumes (NIfTI, NRRD, MetaImage, ...), pictures (PNG, JPEG, BMP, TIFF) or folders of DICOM files, and the
    ending of a label can differ from that of its image.

    Volumes that end in ``_0000``, ``_0001`` and so on are the channels of one image, as in nnU-Net, if the label has
    the name without this number. Without labels they are, if there are as many as ``channels``.

    Args:
        folder: folder of the data.
        section: section of ``dataset.json``; ``None`` for "validation", else "training", else "test".
        channels: number of channels that the network takes; ``None`` if unknown.

    Returns:
        a dictionary for each case: ``image``, a path or the paths of its channels, and ``label``, a path, if there is
        one.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If nothing in it fits, the section is missing, only some of the images have labels, or it is not
            clear which files belong together.
    """
    cases = find_cases(folder, section=section, channels=channels)
    warn_of_gaps(folder, cases)
    return cases


def find_cases(
    folder: str | os.PathLike, *, section: str | None = None, channels: int | None = None
) -> list[dict[str, Any]]:
    """Cases of a folder, see :func:`folder_cases`, without warnings."""
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"data folder {str(root)!r} does not exist.")
    datalist = root / "dataset.json"
    content = json.loads(datalist.read_text(encoding="utf-8")) if datalist.is_file() else {}
    if isinstance(content.get("dataset"), dict):
        return _nnunet_list(root, content["dataset"])
    if any(isinstance(content.get(name), list) for name in (*_SECTIONS, section)):
        return _decathlon(datalist, content, section)
    # nnU-Net says what is in imagesTr, and names no files.
    nnunet = "numTraining" in content or "channel_names" in content
    if section is not None and not nnunet:
        raise ValueError(f"section={section!r} names a part of a dataset.json, but {str(root)!r} has none.")
    if section not in (None, "training", "test"):
        raise ValueError(f"section={section!r} must be 'training' or 'test' in {str(root)!r}, a data set of nnU-Net.")
    channels = len(content.get("channel_names") or ()) or channels
    for name in ("imagesTs",) if section == "test" else _IMAGES:
        if images := _files(root / name):
            return _paired(images, _labels(root, _IMAGES[name], images), channels)
    inside = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))]
    if len(inside) == 1 and not _LABELS.fullmatch(inside[0].name):
        # As archives are unpacked: data/data/images.
        return find_cases(inside[0], section=section, channels=channels)
    there = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
    raise ValueError(
        f"data folder {str(root)!r} holds no cases: it needs a dataset.json (Decathlon, nnU-Net), NIfTI or other "
        f"volumes or pictures in imagesTr and labelsTr or in images and labels, or such files without labels; it has "
        f"{there}."
    )


def warn_of_gaps(folder: str | os.PathLike, cases: Sequence[Mapping[str, Any]], label_key: str = "label") -> None:
    """Warn if cases have no labels, and of image files of the folder that no case names."""
    without = sum(label_key not in case for case in cases)
    if without:
        logger.warning("no labels found for %d of %d images in %s", without, len(cases), os.fspath(folder))
    if not (Path(folder) / "dataset.json").is_file() and (unread := _unread(Path(folder), cases)):
        more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
        logger.warning("not read in %s: %s%s", os.fspath(folder), ", ".join(unread[:5]), more)


def _unread(root: Path, cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Files beside those of the cases, and folders of files elsewhere with their number."""
    read = {Path(path).resolve() for case in cases for value in case.values() for path in _paths(value)}
    # Headers and data of one image.
    read |= {path.with_suffix(suffix) for path in read for suffix in (".hdr", ".img", ".raw", ".zraw")}
    folders = {path.parent for path in read}
    count: dict[str, int] = {}
    for path in sorted(path for depth in ("*", "*/*", "*/*/*") for path in root.glob(depth)):
        inside, real = path.relative_to(root), path.resolve()
        hidden = any(part.startswith((".", "__")) for part in inside.parts)
        if hidden or not path.is_file() or path.suffix.lower() in _NOT_DATA or {real, *real.parents} & read:
            continue
        name = inside.as_posix() if real.parent in folders or len(inside.parts) == 1 else f"{inside.parent.as_posix()}/"
        count[name] = count.get(name, 0) + 1
    return [f"{name} ({number} files)" if name.endswith("/") else name for name, number in count.items()]


def _paths(value: Any) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [os.fspath(each) for each in values if isinstance(each, (str, os.PathLike))]


def _decathlon(datalist_file: Path, content: Mapping[str, Any], section: str | None) -> list[dict[str, Any]]:
    wanted = [section] if section else [name for name in _SECTIONS if content.get(name)]
    if not wanted or not content.get(wanted[0]):
        filled = [key for key, value in content.items() if isinstance(value, list) and value]
        raise ValueError(f"{str(datalist_file)!r} has no cases in {section or ', '.join(_SECTIONS)}; it has {filled}.")
    items = load_decathlon_datalist(str(datalist_file), True, wanted[0])
    for item in items:
        # The first nnU-Net lists images without the numbers of their channels.
        image = Path(item["image"]) if isinstance(item.get("image"), (str, os.PathLike)) else None
        if image is not None and not image.exists() and (ending := _ending(image)):
            stem = image.name[: len(image.name) - len(ending)]
            if files := [str(path) for path in sorted(image.parent.glob(f"{stem}_[0-9][0-9][0-9][0-9]{ending}"))]:
                item["image"] = files[0] if len(files) == 1 else files
    return items


def _nnunet_list(root: Path, dataset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cases that nnU-Net's ``dataset.json`` lists by name."""
    made = []
    for case in dataset.values():
        images = [str(root / path) for path in _paths(case["images"])]
        made.append({"image": images[0] if len(images) == 1 else images, "label": str(root / case["label"])})
    return made


def _files(folder: Path) -> dict[str, Path]:
    """Images of a folder, files or folders of DICOM files, by their names without ending."""
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        path = _inside(entry) if entry.is_dir() else entry if _ending(entry) else None
        if entry.name.startswith(".") or path is None:
            continue
        if _ending(path) in _HEADERS and path.with_suffix(_HEADERS[_ending(path)]).is_file():
            continue
        name = entry.name[: len(entry.name) - len(_ending(entry))]
        if name in found:
            raise ValueError(
                f"{str(found[name])!r} and {str(path)!r} have the same name, so it is not clear which one is meant: "
                "move one of them elsewhere."
            )
        found[name] = path
    volumes = {name: path for name, path in found.items() if _ending(path) not in _PICTURES}
    return volumes or found


def _inside(folder: Path) -> Path | None:
    """The image that a folder stands for: its only file, of the same name, or itself if it holds DICOM files alone."""
    if _LABELS.fullmatch(folder.name):
        return None
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    name = folder.name[: len(folder.name) - len(_ending(folder))]
    if len(files) == 1 and _ending(files[0]) and files[0].name[: len(files[0].name) - len(_ending(files[0]))] == name:
        return files[0]
    return folder if files and all(path.is_file() for path in files) and _is_dicom(files[0]) else None


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() == ".dcm"


def _ending(path: Path) -> str:
    """The ending of an image file in lower case, or nothing."""
    name = path.name.lower()
    return next((ending for ending in (*_VOLUMES, *_PICTURES) if name.endswith(ending)), "")


def _labels(root: Path, usual: str, of: Mapping[str, Path]) -> dict[str, Path]:
    """Labels in the first of the possible folders that has one for an image."""
    folders = [root / name for name in (usual, "labels", "labels/final") if (root / name).is_dir()]
    named = [p for p in sorted(root.glob("*")) + sorted(root.glob("*/*")) if p.is_dir()]
    folders += [p for p in named if p not in folders and _LABELS.fullmatch(p.relative_to(root).parts[0])]
    names = {*of, *(match[1] for name in of if (match := _CHANNEL.fullmatch(name)))}
    for folder in folders:
        if names & (found := _files(folder)).keys() or (found and folder == root / usual):
            return found
    return {}


def _paired(images: Mapping[str, Path], labels: Mapping[str, Path], channels: int | None) -> list[dict[str, Any]]:
    made: dict[str, list[str]] = {}
    numbered: dict[str, list[str]] = {}
    for name in images:
        match = _CHANNEL.fullmatch(name)
        # The number of a picture is that of a case, as is that of an image with a label of the same name.
        picture = not labels and _ending(images[name]) in _PICTURES
        if match is None or name in labels or (labels and match[1] not in labels) or picture:
            made[name] = [name]
        else:
            numbered.setdefault(match[1], []).append(name)
    for case, names in numbered.items():
        numbers = [int(name[-4:]) for name in names]
        if not labels and (channels == 1 or numbers[0] > 0):
            made.update({name: [name] for name in names})
            continue
        problem = None
        if numbers != list(range(len(numbers))):
            problem = "channels are numbered 0000, 0001 and so on"
        elif len({_ending(images[name]) for name in names}) > 1:
            problem = "channels have the same ending"
        elif channels is not None and len(numbers) != channels:
            problem = f"the network takes {channels}"
        if problem or case in made:
            raise ValueError(
                f"images {', '.join(names)} in {str(images[names[0]].parent)!r} are not the channels of a case "
                f"{case!r}: {problem or 'there is an image of this name, too'}. Rename them, or list the cases in a "
                "dataset.json."
            )
        made[case] = names
    if labels and (alone := [name for name in made if name not in labels]):
        where = str(next(iter(labels.values())).parent)
        raise ValueError(
            f"{len(alone)} of {len(made)} images have no label of the same name in {where!r}, {alone[0]!r} for one."
        )
    cases: list[dict[str, Any]] = []
    for case in sorted(made):
        paths = [str(images[name]) for name in made[case]]
        label = {"label": str(labels[case])} if labels else {}
        cases.append({"image": paths[0] if len(paths) == 1 else paths, **label})
    return cases
