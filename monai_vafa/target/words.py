# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Text in configs of MONAI, which reads ``$``, ``@``, ``%`` and ``#`` as signs of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SYNTAX = ("$", "@", "%")


def as_config(value: Any) -> Any:
    """A value as MONAI reads it unchanged: as an expression if it would take ``#`` in it for a separator of ids."""
    texts = texts_in(value)
    if "_target_" in texts or any(t.startswith(SYNTAX) for t in texts) or not any("#" in text for text in texts):
        return value
    return as_expression(value)


def as_expression(value: Any) -> str:
    """A value as an expression in which MONAI finds no ids."""
    return "$" + repr(value).replace("#", "\\x23").replace("@", "\\x40")


def texts_in(content: Any) -> list[str]:
    """All text in some content, keys among it."""
    if isinstance(content, Mapping):
        return [text for key, value in content.items() for text in (str(key), *texts_in(value))]
    if isinstance(content, (list, tuple)):
        return [text for value in content for text in texts_in(value)]
    return [content] if isinstance(content, str) else []
