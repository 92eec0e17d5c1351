# SPDX-License-Identifier: Apache-2.0
"""What users set: an option is accepted only if the run reads it, and paths and names stay as they were typed."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

from monai_vafa.data.paths import check_path
from monai_vafa.target.config import SYNTAX, no_id, texts_in

# Parameters of monai.bundle.run that are not ids of the config.
_OF_RUN = ("run_id", "init_id", "final_id", "meta_file", "logging_file", "tracking", "args_file")
# Ids that are paths or names. Some may also be None, False or a list.
TEXTS = (
    *("bundle", "config_file", "configs", "workflow", "checkpoint", "activation", "version", "source", "bundle_dir"),
    *("dataset_dir", "datalist_section", "device", "output_dir", "ckpt_dir", "description", "lpips_trunk", "attack"),
    *("run_id", "init_id", "final_id", "meta_file", "logging_file", "args_file", "claim", "reference"),
)
# MONAI's own: every bundle has them, and programs other than a run, or its experiment tracking, read them.
_STANDARD = ("bundle_root", "imports", "network_def", "inferer", "dataset", "_meta_")
_OF_TRACKING = ("tracking_uri", "experiment_name", "run_name", "save_execute_config")


def read_words(words: Sequence[str]) -> list[str]:
    """Words of a command line such that Fire reads paths and names as text."""
    made, seen, todo = list(words[:1]), set(), list(words[1:])
    while todo and todo[0] != "--":
        word = todo.pop(0)
        if not re.match("--|-[A-Za-z]", word):
            made.append(_quoted(word))
            continue
        flag, equals, value = word.partition("=")
        id_ = flag.lstrip("-").replace("-", "_")
        is_text = any(text == id_ or (len(id_) == 1 and text.startswith(id_)) for text in TEXTS)
        if id_ in seen:
            raise ValueError(f"{flag} is given twice.")
        seen.add(id_)
        if not equals and todo and not re.match("--|-[A-Za-z]", todo[0]):
            value = todo.pop(0)
        elif not equals and is_text:
            raise ValueError(f"{flag} needs a value.")
        made.append(f"{flag}={_quoted(value) if is_text else value}" if value else flag)
    return made + todo


def _quoted(word: str) -> str:
    """A path or name in quotes, unless it is None, False, a list or in quotes already."""
    if word in ("None", "False"):
        return word
    value = DefaultParseValue(word) if word[:1] in ("[", "(", "'", '"') else word
    return word if isinstance(value, (list, tuple)) else repr(value if isinstance(value, str) else word)


def check_options(name: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """
    What is given for the ids of a config: text is text, switches are True or False, and the run reads all of it.

    MONAI would accept ids that nothing reads without a word.
    """
    checked = {id_: _checked(id_, config.get(id_), value) for id_, value in given.items()}
    parser = ConfigParser(copy.deepcopy(dict(config)))
    for id_, value in checked.items():
        if id_ not in _OF_RUN:
            parser.set(copy.deepcopy(value), id_)
    read = _read(parser, [checked.get("init_id") or "initialize", checked.get("run_id") or "run"])
    of_monai = (*_OF_RUN, *_STANDARD, *(_OF_TRACKING if checked.get("tracking") else ()))
    for id_ in checked:
        path = f"{ReferenceResolver.normalize_id(id_)}::"
        first = path.partition("::")[0].removeprefix("+")
        if first in of_monai or any(path.startswith(each) or each.startswith(path) for each in read):
            continue
        if first in config:
            raise ValueError(f"nothing reads {id_!r} in this run of {name}, with these other options: leave it out.")
        raise ValueError(f"{name} has {no_id(first, config)}")
    return checked


def _checked(id_: str, default: Any, value: Any) -> Any:
    """The value of an id, refused if it is of another kind than that of the config."""
    if value is None or (isinstance(value, str) and value.startswith(SYNTAX)) or id_ == "description":
        return value
    if id_ in TEXTS:
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each is not False or id_ not in ("checkpoint", "logging_file"):
                check_path(id_, each)
    elif isinstance(default, bool):
        switch = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(switch, bool):
            raise ValueError(f"{id_}={value!r} must be True or False.")
        return switch
    elif isinstance(default, (int, float)) and isinstance(value, (bool, str)):
        raise ValueError(f"{id_}={value!r} must be a number.")
    return value


def check_run() -> None:
    """
    If this process is ``python -m monai.bundle run``, refuse options that its configs do not read.

    Configs call it first. A run that Python code starts is not checked: its options are not known here.

    Raises:
        ValueError: if nothing reads an option, or if its value is of another kind than the config's.
    """
    if Path(sys.argv[0]).parts[-3:] != ("monai", "bundle", "__main__.py") or sys.argv[1:2] != ["run"]:
        return
    words = [word[2:].partition("=") for word in read_words(sys.argv[1:]) if word.startswith("--")]
    given: dict[str, Any] = {flag: DefaultParseValue(value) if equals else True for flag, equals, value in words}
    if "args_file" in given:
        given = {**ConfigParser.load_config_file(given["args_file"]), **given}
    files = given.pop("config_file")
    check_options(str(files), ConfigParser.load_config_files(files), given)


def as_word(value: Any) -> str:
    """A value as a word of the command line that is read as the same value again."""
    text = str(value)
    return text if DefaultParseValue(text) == value else repr(value)


def _read(parser: ConfigParser, roots: Iterable[str]) -> set[str]:
    """Ids that a run reads, normalized and each with a separator at its end."""
    todo, read = [*roots, "finalize"], set()
    while todo:
        id_ = ReferenceResolver.normalize_id(todo.pop())
        if id_ in read or id_ not in parser:
            continue
        read.add(id_)
        for text in texts_in(parser[id_]):
            todo += [text[1:]] if text.startswith("%") else ReferenceResolver.match_refs_pattern(text)
    return {f"{id_}::" for id_ in read}
