# SPDX-License-Identifier: Apache-2.0
"""Images and labels in a folder of the user."""

from __future__ import annotations

import glob
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from monai.data import load_decathlon_datalist
from monai.utils import ensure_tuple

logger = logging.getLogger(__name__)

_SECTIONS = ("validation", "training", "test")
_VOLUMES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".img", ".hdr", ".npy", ".npz")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_NOT_DATA = (".json", ".txt", ".md", ".csv", ".tsv", ".xlsx", ".pdf", ".yaml", ".yml", ".html", ".py", ".log", ".zip")
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_LABEL_WORD = r"(labels?(tr|ts|val)?|masks?|seg(mentation)?s?|annotations?|ground_?truth|gt)"
_LABELS = re.compile(_LABEL_WORD, re.IGNORECASE)
_LABEL_OF = re.compile(rf"(.+?)[._-]{_LABEL_WORD}", re.IGNORECASE)
_IMAGES = {"imagesTr": "labelsTr", "images": "labels", "imagesTs": "labelsTs", ".": "labels"}


def folder_cases(
    folder: str | os.PathLike, *, section: str | None = None, channels: int | None = None
) -> list[dict[str, Any]]:
    """
    List the images of a folder, with their labels where there are any.

    Known layouts, the first that fits: a Decathlon ``dataset.json``; volumes (NIfTI, NRRD, MetaImage, ...), pictures
    (PNG, JPEG, BMP, TIFF) or folders of DICOM files in ``imagesTr``, in ``images`` or in the folder itself, with labels
    of the same names and any ending in ``labelsTr``, ``labels``, ``labels/final`` and similar folders, or beside the
    images, as ``NAME_seg`` or ``NAME_label`` and the like.

    Volumes that end in ``_0000``, ``_0001`` and so on are the channels of one image, as in nnU-Net, if the label has
    the name without this number or, without labels, if there are as many as ``channels``. Of nnU-Net's
    ``dataset.json``, ``file_ending`` and ``channel_names`` count.

    Args:
        folder: folder of the data.
        section: section of ``dataset.json``; ``None`` for "validation", else "training", else "test".
        channels: number of channels that the network takes; ``None`` if unknown.

    Returns:
        for each case ``image``, a path or the paths of its channels, and ``label``, a path, if there is one.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If nothing in it fits, the section is missing or shares a case with the training, only some of the
            images have labels, or it is not clear which files belong together.
    """
    cases = find_cases(folder, section=section, channels=channels)
    warn_of_gaps(folder, cases)
    return cases


def find_cases(
    folder: str | os.PathLike, *, section: str | None = None, channels: int | None = None
) -> list[dict[str, Any]]:
    """Cases of a folder, see :func:`folder_cases`, without warnings of what is not read."""
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"data folder {str(root)!r} does not exist.")
    content = _dataset_json(root)
    if any(isinstance(content.get(name), list) for name in (*_SECTIONS, section or "test")):
        return _decathlon(root, content, section, channels)
    if section is not None and not _is_nnunet(content):
        raise ValueError(f"section={section!r} names a part of a dataset.json, but {str(root)!r} has none.")
    if section not in (None, "training", "test"):
        raise ValueError(f"section={section!r} must be 'training' or 'test' in {str(root)!r}, a data set of nnU-Net.")
    if isinstance(content.get("dataset"), dict) and section != "test":
        listed = content["dataset"].values()
        return [_case([root / path for path in case["images"]], case.get("label"), root) for case in listed]
    channels = len(content.get("channel_names") or ()) or channels
    ending = content.get("file_ending")
    for name in ("imagesTs",) if section == "test" else _IMAGES:
        if images := _files(root / name, ending):
            return _paired(images, _labels(root, _IMAGES[name], images, ending), channels)
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
    if without := sum(label_key not in case for case in cases):
        logger.warning("no labels found for %d of %d images in %s", without, len(cases), os.fspath(folder))
    if unread := _unread(Path(folder), cases):
        more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
        logger.warning("not read in %s: %s%s", os.fspath(folder), ", ".join(unread[:5]), more)


def _unread(root: Path, cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Files beside those of the cases, and folders of files elsewhere with their number."""
    content = _dataset_json(root)
    if content and (not _is_nnunet(content) or any(isinstance(content.get(name), list) for name in _SECTIONS)):
        # A list has other sections.
        return []
    values = [value for case in cases for value in case.values()]
    read = {Path(path).resolve() for value in values for path in ensure_tuple(value) if is_path(path)}
    # Headers and data of one image.
    read |= {path.with_suffix(suffix) for path in read for suffix in (".hdr", ".img", ".raw", ".zraw")}
    folders = {path.parent for path in read}
    count: dict[str, int] = {}
    for path in sorted(path for depth in ("*", "*/*", "*/*/*") for path in root.glob(depth)):
        inside, real = path.relative_to(root), path.resolve()
        hidden = any(part.startswith((".", "__")) for part in inside.parts)
        if hidden or not path.is_file() or path.suffix.lower() in _NOT_DATA or {real, *real.parents} & read:
            continue
        beside = real.parent in folders or len(inside.parts) == 1
        if beside or not content:
            name = inside.as_posix() if beside else f"{inside.parent.as_posix()}/"
            count[name] = count.get(name, 0) + 1
    return [f"{name} ({number} files)" if name.endswith("/") else name for name, number in count.items()]


def ignore_label_of(label: str | os.PathLike) -> int | None:
    """Number of voxels without a label, if the nearest ``dataset.json`` above a label has one, as nnU-Net's may."""
    content = next(filter(None, (_dataset_json(folder) for folder in list(Path(label).parents)[:3])), {})
    labels = content["labels"] if isinstance(content.get("labels"), dict) else {}
    told = labels.get("ignore", next((number for number, name in labels.items() if name == "ignore"), None))
    return int(str(told)) if re.fullmatch(r"-?\d+", str(told)) else None


def is_path(value: Any) -> TypeGuard[str | os.PathLike]:
    """Whether a value is a path, as text or as an object."""
    return isinstance(value, (str, os.PathLike))


def _dataset_json(root: Path) -> dict[str, Any]:
    """Content of a folder's ``dataset.json``, empty if there is none."""
    path = root / "dataset.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}. Correct it, or move it elsewhere.") from error
    return content if isinstance(content, dict) else {}


def _is_nnunet(content: Mapping[str, Any]) -> bool:
    """Whether a ``dataset.json`` is nnU-Net's, which says what is in ``imagesTr`` and most often names no files."""
    return not content.keys().isdisjoint(("dataset", "numTraining", "channel_names"))


def _decathlon(
    root: Path, content: Mapping[str, Any], section: str | None, channels: int | None
) -> list[dict[str, Any]]:
    path, wanted = str(root / "dataset.json"), section or next((name for name in _SECTIONS if content.get(name)), "")
    if not content.get(wanted):
        filled = [key for key, value in content.items() if isinstance(value, list) and value]
        raise ValueError(f"{path!r} has no cases in {section or _SECTIONS}; it has {filled}.")
    both = _listed(content.get("training")) & _listed(content[wanted])
    if both and wanted != "training":
        raise ValueError(f"{path!r} has {min(both)!r} in training and in {wanted}: remove one.")
    items = load_decathlon_datalist(path, True, wanted)
    for item in items:
        image = Path(item["image"]) if is_path(item.get("image")) else None
        if image is not None and not image.exists():
            # The first nnU-Net lists images without the numbers of their channels.
            pattern = f"{glob.escape(_stem(image))}_[0-9][0-9][0-9][0-9]{_ending(image)}"
            if files := {_stem(path): path for path in sorted(image.parent.glob(pattern))}:
                _check_channels(_stem(image), files, channels)
                item |= _case(list(files.values()))
    return items


def _listed(cases: Any) -> set[str]:
    """Images of a section of a list."""
    images = (case.get("image") if isinstance(case, dict) else case for case in ensure_tuple(cases))
    return {str(image) for image in images if image is not None}


def _case(images: Sequence[Path], label: str | Path | None = None, root: Path = Path()) -> dict[str, Any]:
    paths = [str(path) for path in images]
    return {"image": paths[0] if len(paths) == 1 else paths, **({"label": str(root / label)} if label else {})}


def _files(folder: Path, ending: str | None = None) -> dict[str, Path]:
    """Images of a folder, files or folders of DICOM files, by their names without ending."""
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        path = _inside(entry) if entry.is_dir() else entry if _ending(entry) else None
        if path is None or entry.name.startswith(".") or (ending and not path.name.endswith(ending)):
            continue
        if _ending(path) == ".hdr" and path.with_suffix(".img").is_file():  # a reader is given its data
            continue
        if (name := _stem(entry)) in found:
            raise ValueError(f"{str(found[name])!r} and {str(path)!r} have the same name: move one of them elsewhere.")
        found[name] = path
    volumes = {name: path for name, path in found.items() if _ending(path) not in _PICTURES}
    return volumes or found


def _inside(folder: Path) -> Path | None:
    """The image that a folder stands for: its only file, of the same name, or itself if it holds DICOM files alone."""
    if _LABELS.fullmatch(folder.name):
        return None
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if len(files) == 1 and _ending(files[0]) and _stem(files[0]) == _stem(folder):
        return files[0]
    return folder if files and all(path.is_file() for path in files) and is_dicom(files[0]) else None


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its ending or its preamble."""
    if path.suffix.lower() == ".dcm" or not path.is_file():
        return path.suffix.lower() == ".dcm"
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _ending(path: Path) -> str:
    """The ending of an image file in lower case, or nothing."""
    name = path.name.lower()
    return next((ending for ending in (*_VOLUMES, *_PICTURES) if name.endswith(ending)), "")


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(_ending(path))]


def _labels(root: Path, usual: str, images: dict[str, Path], ending: str | None) -> dict[str, Path]:
    """Labels in the first possible folder that has one for an image, else those beside the images, ``a_seg``."""
    names = {*images, *(match[1] for name in images if (match := _CHANNEL.fullmatch(name)))}
    named = {name: match[1] for name in images if (match := _LABEL_OF.fullmatch(name)) and match[1] in names}
    beside = {case: images.pop(name) for name, case in named.items()}
    folders = [root / name for name in (usual, "labels", "labels/final") if (root / name).is_dir()]
    others = [path for path in sorted(root.glob("*")) + sorted(root.glob("*/*")) if path.is_dir()]
    folders += [path for path in others if _LABELS.fullmatch(path.relative_to(root).parts[0])]
    for folder in folders:
        found = _files(folder, ending)
        if (names - named.keys()) & found.keys() or (found and folder == root / usual):
            return found
    return beside


def _paired(images: Mapping[str, Path], labels: Mapping[str, Path], channels: int | None) -> list[dict[str, Any]]:
    """Images with their labels, several files where these are the channels of one image."""
    made: dict[str, list[Path]] = {}
    numbered: dict[str, dict[str, Path]] = {}
    for name, path in images.items():
        match = _CHANNEL.fullmatch(name)
        # The number of a picture is that of a case, as is that of an image with a label of the same name.
        picture = not labels and _ending(path) in _PICTURES
        if match is None or name in labels or (labels and match[1] not in labels) or picture:
            made[name] = [path]
        else:
            numbered.setdefault(match[1], {})[name] = path
    for case, files in numbered.items():
        if not labels and (channels == 1 or not next(iter(files)).endswith("_0000")):
            made.update({name: [path] for name, path in files.items()})
            continue
        _check_channels(case, files, channels, taken=case in made)
        if not labels and channels is None and len(files) > 1:
            logger.warning("%s are read as the channels of one image: the names say so, and nothing else", [*files])
        made[case] = list(files.values())
    if labels and (alone := [name for name in made if name not in labels]):
        where = str(next(iter(labels.values())).parent)
        raise ValueError(f"{len(alone)} of {len(made)} images have no label in {where!r}, {alone[0]!r} for one.")
    return [_case(made[case], labels.get(case)) for case in sorted(made)]


def _check_channels(case: str, files: Mapping[str, Path], channels: int | None, *, taken: bool = False) -> None:
    """Refuse files, in the order of their names, that are not the channels of one image."""
    problem = "there is an image of this name, too" if taken else ""
    if [name[-4:] for name in files] != [f"{number:04d}" for number in range(len(files))]:
        problem = "channels are numbered 0000, 0001 and so on"
    elif len({_ending(path) for path in files.values()}) > 1:
        problem = "channels have the same ending"
    elif channels is not None and len(files) != channels:
        problem = f"the network takes {channels}"
    if problem:
        raise ValueError(
            f"images {', '.join(files)} in {str(next(iter(files.values())).parent)!r} are not the channels of a case "
            f"{case!r}: {problem}. Rename them, or list the cases in a dataset.json."
        )
