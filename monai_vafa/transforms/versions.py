# SPDX-License-Identifier: Apache-2.0
"""How array transforms get their dictionary versions, and attacks of the roster their transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.transforms import MapTransform, Randomizable, Transform

from monai_vafa.attacks import Attack

from .attack import AttackTransform

_ARGS = """
    Args:
        keys: keys of the images.{label}
        allow_missing_keys: don't raise an exception if a key is missing.

    All others: see :class:`{name}`.
"""
_LABEL = """
        label_key: key of the label; ``None``: the network's own prediction of the clean image is attacked."""
_ATTACK_ARGS = """
    Args:
        network, roi_size, sw_batch_size: see :class:`AttackTransform`; controls need no network.
        seed: if given, all calls use it, whatever the random state of the transform.

    All others: see :class:`monai_vafa.attacks.{attack}`.
"""


class DictionaryTransform(MapTransform):
    """Base of the dictionary versions: one array transform for all keys, in whose random state they are random."""

    transform: Any
    label_key: Hashable | None

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Transform the images of a dictionary; a KeyError names what is missing if ``allow_missing_keys`` is off."""
        d = dict(data)
        more: dict[str, Any] = {}
        if self.label_key is not None:
            if self.label_key not in d and not self.allow_missing_keys:
                raise KeyError(
                    f"label_key={self.label_key!r} is missing in the data and allow_missing_keys==False; with "
                    "label_key=None, the network's own prediction is attacked."
                )
            more["label"] = d.get(self.label_key)
        if isinstance(self.transform, Randomizable):
            self.transform.randomize(None)  # once for all keys
            more["randomize"] = False
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key], **more)
        return d


class RandomDictionaryTransform(DictionaryTransform, Randomizable):
    """The same for array transforms that are random; each call draws anew by itself."""

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Any:
        """Set the random state of the array transform."""
        self.transform.set_random_state(seed, state)
        return self


def dictionary_version(array: type[Transform]) -> Any:
    """The class ``NAMEd`` of an array transform; if that takes a ``label``, with a ``label_key``."""
    parameters = list(signature(array).parameters.values())
    takes_label = "label" in signature(array.__call__).parameters
    if takes_label:
        place = [p.name for p in parameters].index("roi_size")
        parameters.insert(place, _argument("label_key", "Hashable | None", None))
    parameters = [_argument("keys", "KeysCollection"), *parameters, _argument("allow_missing_keys", "bool", False)]
    explicit = Signature(sorted(parameters, key=lambda p: p.kind))  # those that have to be named come last

    class Made(RandomDictionaryTransform if issubclass(array, Randomizable) else DictionaryTransform):  # type: ignore[misc]
        backend = array.backend

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            given = explicit.bind(*args, **kwargs).arguments
            MapTransform.__init__(self, given.pop("keys"), given.pop("allow_missing_keys", False))
            self.label_key = given.pop("label_key", None)
            self.transform = array(**given)

    args = _ARGS.format(name=array.__name__, label=_LABEL if takes_label else "")
    doc = f"Dictionary-based version of :class:`{array.__name__}`.\n{args}"
    return _named(Made, f"{array.__name__}d", doc, explicit)


@cache
def attack_transforms(name: str, attack: type[Attack]) -> tuple[Any, Any]:
    """The array transform of an attack, under this name, and its dictionary version; both take its parameters."""
    own = dict(signature(AttackTransform).parameters)
    del own["attack"]
    if attack.control:
        own["network"] = own["network"].replace(default=None, annotation="torch.nn.Module | None")
    explicit = Signature([*own.values(), *signature(attack).parameters.values()])

    class Made(AttackTransform):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            given = explicit.bind(*args, **kwargs).arguments
            settings = {key: given.pop(key) for key in own if key in given}
            if attack.control and settings.get("network") is None:
                settings["network"] = torch.nn.Identity()
            super().__init__(attack=attack(**given), **settings)
            self._fixed = "seed" in given

    what = (attack.__doc__ or attack.__name__).strip().splitlines()[0]
    array = _named(Made, name, f"{what}\n{_ATTACK_ARGS.format(attack=attack.__name__)}", explicit)
    return array, dictionary_version(array)


def _argument(name: str, annotation: str, default: Any = Parameter.empty) -> Parameter:
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _named(made: Any, name: str, doc: str, explicit: Signature) -> Any:
    """The class as it looks from outside; pickle finds it under its name in this package."""
    made.__name__ = made.__qualname__ = name
    made.__module__, made.__doc__, made.__signature__ = __package__, doc, explicit
    return made
