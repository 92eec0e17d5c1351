# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables and figures, from the result files of a run alone."""

from __future__ import annotations

from .figures import case_figure
from .report import write_report
from .table import format_tables

__all__ = ["case_figure", "format_tables", "write_report"]
