# SPDX-License-Identifier: Apache-2.0
"""Write monai_vafa/transforms/__init__.pyi, which tells editors and mypy the signatures of the transforms.

python tests/transforms/make_stub.py
"""

from __future__ import annotations

import inspect
from pathlib import Path

from monai_vafa import transforms

PATH = Path(transforms.__file__).with_suffix(".pyi")
_HEAD = """\
# SPDX-License-Identifier: Apache-2.0
# Written by tests/transforms/make_stub.py.
# ruff: noqa: E501
# fmt: off
from collections.abc import Hashable, Sequence
from typing import Literal

import torch
from monai.config import KeysCollection

from monai_vafa.attacks import Attack
from monai_vafa.attacks.objective import LossFunction
from monai_vafa.attacks.pgd import Recipe
from monai_vafa.outputs import Activation

from .attack import AttackTransform as AttackTransform
from .quantize import FrequencyQuantize as FrequencyQuantize
from .quantize import RandFrequencyQuantize as RandFrequencyQuantize
from .versions import DictionaryTransform, RandomDictionaryTransform
"""


def stub() -> str:
    """The text of the stub."""
    lines = [_HEAD]
    for name in transforms.__all__:
        made = getattr(transforms, name)
        if made.__module__ != transforms.__name__:
            continue
        if name != made.__name__:
            lines.append(f"{name} = {made.__name__}")
            continue
        parameters = ["self"]
        for parameter in inspect.signature(made).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parameters:
                parameters.append("*")
            end = "" if parameter.default is parameter.empty else " = ..."
            parameters.append(f"{parameter.name}: {parameter.annotation}{end}")
        lines.append(
            f"class {name}({made.__mro__[1].__name__}):\n    def __init__({', '.join(parameters)}) -> None: ..."
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(stub())
