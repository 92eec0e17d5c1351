# SPDX-License-Identifier: Apache-2.0
"""Read the configs of a bundle without running them, and find its parts and the file of its weights."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver
from monai.utils import ensure_tuple

from monai_vafa.data.paths import check_path

from .scripts import BundleModules

# What MONAI reads as more than text at the start of a value.
SYNTAX = ("$", "@", "%")
# The configs of each workflow of the zoo; an evaluation is laid over the training.
_WORKFLOWS = {"inference": ("inference",), "evaluate": ("train", "evaluate"), "train": ("train",)}
_NOT_SHARED = ("metadata", "multi_gpu", "inference", "evaluate", "train")
_SUFFIXES = (".json", ".yaml", ".yml")
_CUDA = re.compile(r"^cuda(:\d+)?$|(?<=['\"])cuda(:\d+)?(?=['\"])")

# Ids that are read where a config has them.
_KEYS = ("bundle_root", "device", "image_key", "label_key", "dataset_dir")

# MONAI's ids of parts, where they differ; a training has all but some of them for its validation.
_OF_MONAI = {"network": "network_def", "data": "dataset#data"}
_NOT_VALIDATED = ("network", "dataset_dir")
# Part -> ids that bundles use beside that of MONAI. Those of a validation come first: what a training config
# simply calls "preprocessing" is that of the training.
PARTS: dict[str, tuple[str, ...]] = {
    "network": ("network", "net", "model"),
    "inferer": ("val_inferer", "evaluator#inferer", "validate#evaluator#inferer", "inferer"),
    "preprocessing": (
        *("validate#dataset#transform", "dataset#transform"),
        *("val_preprocessing", "val_transform", "val_transforms", "preprocessing"),
    ),
    "postprocessing": (
        *("val_postprocessing", "validate#evaluator#postprocessing", "evaluator#postprocessing", "postprocessing"),
    ),
    "data": ("val_dataset#data",),
    "dataset_dir": (),
    "datalist": ("datalist",),
    "class_names": ("class_names",),
    "loss": ("loss", "lossfn", "loss_function", "train#loss", "train#trainer#loss_function"),
    "checkpoint": ("checkpoint", "ckpt_path"),
}


def config_files(
    folder: Path, *, workflow: str | None = None, config_file: str | Sequence[str] | None = None
) -> list[Path]:
    """Config files of a bundle, each laid over those before it: of a workflow, of the first there is, or as named."""
    if config_file is not None:
        if workflow is not None:
            raise ValueError(f"workflow={workflow!r} and config_file={config_file!r} both choose configs; give one.")
        return [_existing(folder, name) for name in ensure_tuple(config_file)]
    if workflow is not None and workflow not in _WORKFLOWS:
        raise ValueError(f"workflow={workflow!r} must be one of {', '.join(_WORKFLOWS)}.")
    there = configs_in(folder)
    for stems in _WORKFLOWS.values() if workflow is None else [_WORKFLOWS[workflow]]:
        if there.keys() >= set(stems):
            return _with_shared([there[stem] for stem in stems], list(there.values()))
    wanted = " + ".join(_WORKFLOWS[workflow]) if workflow else "inference or train"
    raise ValueError(f"bundle {str(folder)!r} has no config {wanted}, but {sorted(there)}: name one with config_file.")


def configs_in(folder: Path) -> dict[str, Path]:
    """Config files of a bundle by their names without ending."""
    return {path.stem: path for suffix in reversed(_SUFFIXES) for path in (folder / "configs").glob(f"*{suffix}")}


def check_overrides(files: Sequence[Path], overrides: Mapping[str, Any], *, name: str) -> None:
    """Refuse overrides that nothing reads, and numbers in place of the text that a config has there."""
    content = {id_.removeprefix("+"): value for path in files for id_, value in read_config(path).items()}
    known = {id_.partition("#")[0] for ids in (content, _KEYS, *PARTS.values()) for id_ in ids} | _references(overrides)
    for id_, value in overrides.items():
        first = ReferenceResolver.normalize_id(id_).partition("::")[0].removeprefix("+")
        if first not in known:
            raise ValueError(f"overrides sets {id_!r}, but the config of {name} has {no_id(first, content)}")
        text = content.get(id_)
        if type(value) in (int, float) and isinstance(text, str) and not text.startswith(SYNTAX):
            check_path(id_, value)


@dataclass
class Parts:
    """
    Finds and builds the parts of a bundle, each on its own, from configs of which nothing else is built or run.

    A part is looked for under the id that the user gave in ``ids``, else under that of MONAI, else under ids that other
    bundles use (:data:`PARTS`). Only what a part refers to is built with it.
    """

    folder: Path
    files: list[Path]
    device: torch.device | None  # replaces every CUDA device that the configs name
    overrides: dict[str, Any]
    ids: dict[str, str]
    modules: BundleModules

    def __post_init__(self) -> None:
        self.name, self.parser = self.folder.name, ConfigParser()
        self.parser.read_config([str(path) for path in self.files])
        self.parser.read_meta(str(self.folder / "configs" / "metadata.json"))
        self.training = not {"train", "validate", "trainer"}.isdisjoint(self.parser.get())
        settings = {"bundle_root": str(self.folder), **self.overrides}
        if self.device is not None:
            settings = {"device": f"$torch.device('{self.device}')", **settings}
        self.parser.update({id_: as_config(value) for id_, value in settings.items()})
        if self.device is not None:
            device = str(self.device)
            self.parser.set(map_texts(self.parser.get(), lambda text: _CUDA.sub(device, text)))
        if unknown := [part for part in self.ids if part not in PARTS]:
            raise ValueError(f"ids names {unknown[0]!r}, which is not one of the parts {', '.join(PARTS)}.")
        if missing := [f"{part!r}: {id_!r}" for part, id_ in self.ids.items() if id_ not in self.parser]:
            raise ValueError(f"ids names {missing[0]}, but the config of {self.name} has no such id.")

    def candidates(self, part: str) -> list[str]:
        """Ids under which a part is looked for, in order."""
        if part in self.ids:
            return [self.ids[part]]
        of_monai = _OF_MONAI.get(part, part)
        return [f"validate#{of_monai}" if self.training and part not in _NOT_VALIDATED else of_monai, *PARTS[part]]

    def find(self, part: str) -> str | None:
        """Id of a part, or ``None`` if the config does not have it."""
        return next((id_ for id_ in self.candidates(part) if self.parser.get(id_) is not None), None)

    def require(self, part: str) -> Any:
        """Build a part."""
        if self.find(part) is None:
            raise ValueError(
                f"bundle {self.name} has no {part}: its config has none of the ids "
                f"{', '.join(self.candidates(part))}. Name the right one with ids={{{part!r}: '...'}}."
            )
        return self.optional(part)

    def optional(self, part: str) -> Any:
        """Build a part, or return ``None`` if the config does not have it."""
        id_ = self.find(part)
        return None if id_ is None else self.build(part, id_)

    def run(self, id_: str) -> None:
        """Evaluate expressions of the config, if it has any under this id."""
        with self.modules:
            if id_ in self.parser:
                self.parser.get_parsed_content(id_)

    def build(self, part: str, id_: str) -> Any:
        """Build what has an id; ``part`` is its name in error messages."""
        try:
            with self.modules:
                return self.parser.get_parsed_content(id_)
        # A config can run any code, and so raise anything.
        except Exception as error:
            cause = first_cause(error)
            reason = f"{type(cause).__name__}: {cause}".rstrip(".")
            raise ValueError(
                f"bundle {self.name}: its {part} (id {id_!r}) can't be built: {reason}. Install what it needs, correct "
                f"it with overrides, or name another one with ids={{{part!r}: '...'}}."
            ) from error


def find_checkpoint(parts: Parts) -> tuple[Path, str | None]:
    """
    File of the weights as the config names it, and the key under which the file may keep them.

    The first of these that exists: ``ids["checkpoint"]``; a ``CheckpointLoader`` anywhere in the config that loads
    nothing but a network (others resume a training), is not disabled and does not belong to the training; the ids
    ``checkpoint`` and ``ckpt_path``; ``model.pt`` in the folder that the id ``ckpt_dir`` names; ``models/model.pt``.
    Relative paths start at the bundle.
    """
    for id_, loader in components(parts.parser.get()) if "checkpoint" not in parts.ids else ():
        loaded = list(loader.get("load_dict", ()))
        if class_name(loader) != "CheckpointLoader" or len(loaded) != 1 or id_.startswith("train#"):
            continue
        disabled = "_disabled_" in loader and parts.build("checkpoint", f"{id_}#_disabled_")
        if disabled != 1 and str(disabled).strip().lower() != "true":
            return parts.folder / parts.build("checkpoint", f"{id_}#load_path"), loaded[0]
    named = parts.optional("checkpoint")
    if isinstance(named, (str, os.PathLike)):
        return parts.folder / named, None
    kept = parts.folder / parts.build("checkpoint", "ckpt_dir") / "model.pt" if "ckpt_dir" in parts.parser else None
    return kept if kept is not None and kept.is_file() else parts.folder / "models/model.pt", None


def _with_shared(files: list[Path], there: Sequence[Path]) -> list[Path]:
    """Configs with those that they are split off from, such as ``common.yaml``: they define ids that these lack."""
    content = {id_: value for path in files for id_, value in read_config(path).items()}
    lacking = _references(content) - content.keys() - {""}
    others = [path for path in there if path not in files and not path.stem.startswith(_NOT_SHARED)]
    sharing = [path for path in others if lacking & read_config(path).keys()]
    if len(sharing) > 1:
        sharing = [path for path in sharing if "common" in path.stem]
    return _with_shared([*sharing, *files], there) if len(sharing) == 1 else files


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """What a config file says."""
    try:
        return dict(ConfigParser.load_config_file(str(path)))
    except Exception as error:  # JSON, YAML and encodings have errors of their own
        raise ValueError(f"config {os.fspath(path)!r} can't be read: {type(error).__name__}: {error}") from error


def no_id(id_: str, known: Iterable[str]) -> str:
    """That there is no such id, and what was probably meant."""
    close = difflib.get_close_matches(id_, known, 1)
    return f"no id {id_!r}" + (f"; did you mean {close[0]!r}?" if close else f": it has {', '.join(known)}.")


def _references(content: Any) -> set[str]:
    """Top-level ids that some content refers to."""
    return {id_.partition("::")[0] for text in texts_in(content) for id_ in ReferenceResolver.match_refs_pattern(text)}


def _existing(folder: Path, name: str | os.PathLike) -> Path:
    for path in (folder / "configs" / name, Path(name)):
        if path.is_file():
            return path.resolve()
    raise FileNotFoundError(f"config_file {os.fspath(name)!r} is neither in {str(folder / 'configs')!r} nor a path.")


def components(config: Any, id_: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and content of everything in a config that has a ``_target_``."""
    if isinstance(config, dict) and isinstance(config.get("_target_"), str):
        yield id_, config
    children = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, child in children:
        yield from components(child, f"{id_}#{key}" if id_ else str(key))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what caused it, what caused that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_cause(error: BaseException) -> BaseException:
    """An error without those that MONAI wraps around it, which repeat the config."""
    return next(each for each in causes(error) if not isinstance(each, RuntimeError) or each.__cause__ is None)


def class_name(component: Mapping[str, Any]) -> str:
    """Name of the class of a component, without its module."""
    return component["_target_"].rpartition(".")[2]


def as_config(value: Any) -> Any:
    """A value as MONAI reads it unchanged: as an expression if it would take ``#`` in it for a separator of ids."""
    texts = texts_in(value)
    if "_target_" in texts or any(t.startswith(SYNTAX) for t in texts) or not any("#" in text for text in texts):
        return value
    return as_expression(value)


def as_expression(value: Any) -> str:
    """A value as an expression in which MONAI finds no ids."""
    return "$" + repr(value).replace("#", "\\x23").replace("@", "\\x40")


def map_texts(content: Any, change: Callable[[str], str]) -> Any:
    """Plain data with all text in it changed, but not its keys."""
    if isinstance(content, dict):
        return {key: map_texts(value, change) for key, value in content.items()}
    if isinstance(content, list):
        return [map_texts(value, change) for value in content]
    return change(content) if isinstance(content, str) else content


def texts_in(content: Any) -> list[str]:
    """All text in some content, keys among it."""
    if isinstance(content, Mapping):
        return [text for key, value in content.items() for text in (str(key), *texts_in(value))]
    if isinstance(content, (list, tuple)):
        return [text for value in content for text in texts_in(value)]
    return [content] if isinstance(content, str) else []
