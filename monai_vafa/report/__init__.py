# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables, figures and pages, from the result files of a run alone."""

from __future__ import annotations

from .benchmark_report import write_benchmark_report
from .figures import case_figure
from .report import write_report
from .table import format_tables

__all__ = ["case_figure", "format_tables", "write_benchmark_report", "write_report"]
