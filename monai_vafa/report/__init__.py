# SPDX-License-Identifier: Apache-2.0
"""Tables, figures and pages of results; reads result files only, and knows no network."""

from __future__ import annotations

from .figures import case_figure
from .reports import write_benchmark_report, write_report
from .tables import Section, format_tables

__all__ = ["Section", "case_figure", "format_tables", "write_benchmark_report", "write_report"]
