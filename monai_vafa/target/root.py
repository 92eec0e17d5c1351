# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""What a bundle's configs need to know about the bundle itself."""

from __future__ import annotations

import inspect
from pathlib import Path

from monai.bundle import ConfigWorkflow

__all__ = ["bundle_root"]


def bundle_root() -> str:
    """
    Folder of the bundle whose config is being evaluated, whatever the working directory.

    MONAI's workflow knows the folder of its config files but offers it to no expression, which is why zoo bundles
    run only from within their own folder. This looks the workflow up among the callers, so that a config may say
    ``"bundle_root": "$monai_vafa.target.bundle_root()"``; ``--bundle_root`` overrides it as ever.

    Returns:
        absolute path, or ``"."`` (the zoo's convention) where no bundle workflow is running, for example when a
        ``ConfigParser`` reads the config by itself.
    """
    frame = inspect.currentframe()
    while frame is not None:
        workflow = frame.f_locals.get("self")
        if isinstance(workflow, ConfigWorkflow):
            folder = Path(workflow.config_root_path).resolve()
            return str(folder.parent if folder.name == "configs" else folder)
        frame = frame.f_back
    return "."
