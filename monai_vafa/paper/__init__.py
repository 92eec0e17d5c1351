# SPDX-License-Identifier: Apache-2.0
"""The paper's published numbers, tables and figures beside ours."""

from __future__ import annotations

from .report import write_paper_report

__all__ = ["write_paper_report"]
