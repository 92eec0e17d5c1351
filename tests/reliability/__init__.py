# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
