# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the parts of a bundle are found in its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.bundle import ConfigWorkflow
from monai.utils import BundlePropertyConfig

__all__ = ["PARTS", "Parts"]

# Part -> MONAI's name of the property in workflows of type "infer" and "train", then ids that bundles also use. Those
# of a validation come first: what a training config calls plainly "preprocessing" is that of the training.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "network": (("network_def",), ("network", "net", "model")),
    "inferer": (
        ("inferer", "val_inferer"),
        ("val_inferer", "evaluator#inferer", "validate#evaluator#inferer", "inferer"),
    ),
    "preprocessing": (
        ("preprocessing", "val_preprocessing"),
        (
            "validate#dataset#transform",
            "dataset#transform",
            "val_preprocessing",
            "val_transform",
            "val_transforms",
            "preprocessing",
        ),
    ),
    "postprocessing": (
        ("postprocessing", "val_postprocessing"),
        ("val_postprocessing", "validate#evaluator#postprocessing", "evaluator#postprocessing", "postprocessing"),
    ),
    "data": (("dataset_data", "val_dataset_data"), ("val_dataset#data",)),
    "loss": ((), ("loss", "lossfn", "loss_function", "train#loss", "train#trainer#loss_function")),
    "checkpoint": ((), ("checkpoint", "ckpt_path")),
}


class Parts:
    """
    Finds and builds the parts of a bundle, each by itself.

    A part is looked for under the id that the user gave, else under that of MONAI's property of it, else under ids
    that bundles are seen to use (:data:`PARTS`). Only what a part refers to is built with it.

    Args:
        workflow: read, not run.
        name: of the bundle, for messages.
        ids: part -> id in the config, where the user knows better.

    Raises:
        ValueError: When ``ids`` names an unknown part, or an id that the config does not have.
    """

    def __init__(self, workflow: ConfigWorkflow, *, name: str, ids: Mapping[str, str] | None = None) -> None:
        self.workflow = workflow
        self.parser = workflow.parser
        self.name = name
        self.ids = dict(ids or {})
        if unknown := [part for part in self.ids if part not in PARTS]:
            raise ValueError(f"ids names {unknown[0]!r}, which is none of the parts {', '.join(PARTS)}.")
        if missing := [f"{part!r}: {id_!r}" for part, id_ in self.ids.items() if id_ not in self.parser]:
            raise ValueError(f"ids names {missing[0]}, but the config of {name} has no such id.")

    def candidates(self, part: str) -> list[str]:
        """Ids under which a part is looked for, in this order."""
        if part in self.ids:
            return [self.ids[part]]
        properties, known = PARTS[part]
        of_monai = [self.workflow.properties[name] for name in properties if name in self.workflow.properties]
        return [*(each[BundlePropertyConfig.ID] for each in of_monai), *known]

    def find(self, part: str) -> str | None:
        """Id of a part, or ``None`` where the config has it not."""
        return next((id_ for id_ in self.candidates(part) if self.parser.get(id_) is not None), None)

    def require(self, part: str) -> Any:
        """
        Build a part.

        Raises:
            ValueError: When it is not there or can't be built.
        """
        id_ = self.find(part)
        if id_ is None:
            raise ValueError(
                f"bundle {self.name} has no {part}: its config has none of the ids "
                f"{', '.join(self.candidates(part))}. Name the right one with ids={{{part!r}: '...'}}."
            )
        return self.build(part, id_)

    def optional(self, part: str) -> Any:
        """Build a part, or give ``None`` where the config has it not."""
        id_ = self.find(part)
        return None if id_ is None else self.build(part, id_)

    def build(self, part: str, id_: str) -> Any:
        """
        Build what has an id.

        Args:
            part: for the message.
            id_: in the config.

        Raises:
            ValueError: When the config can't be evaluated; says why.
        """
        try:
            return self.parser.get_parsed_content(id_)
        # A config may run anything, and anything may come of it.
        except Exception as error:
            cause: BaseException = error
            # MONAI wraps what went wrong in errors that repeat the config.
            while isinstance(cause, RuntimeError) and cause.__cause__ is not None:
                cause = cause.__cause__
            reason = f"{type(cause).__name__}: {cause}".rstrip(".")
            raise ValueError(
                f"bundle {self.name}: its {part} (id {id_!r}) can't be built: {reason}. Install "
                f"what it needs, mend it with overrides, or name another one with ids={{{part!r}: '...'}}."
            ) from error
