# SPDX-License-Identifier: Apache-2.0
"""The result files of a run: their schema, and how they are written and read."""
