# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
"""The paper's published numbers, tables and figures, beside ours."""
