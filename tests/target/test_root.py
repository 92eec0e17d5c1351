# Copyright (c) monai_vafa contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_vafa.target import bundle_root

CONFIG = {
    "imports": ["$import monai_vafa"],
    "bundle_root": "$monai_vafa.target.bundle_root()",
    "run": ["$@bundle_root"],
}


@pytest.mark.parametrize("folder", ["configs", "elsewhere"])
def test_a_workflows_config_learns_its_bundles_folder(tmp_path, folder):
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "run.json"
    path.write_text(json.dumps(CONFIG))
    workflow = ConfigWorkflow(str(path), meta_file=None, logging_file=False, workflow_type=None)
    workflow.initialize()
    expected = tmp_path if folder == "configs" else tmp_path / folder
    assert workflow.run() == [str(expected)]


def test_the_command_line_has_the_last_word(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(CONFIG))
    workflow = ConfigWorkflow(str(path), logging_file=False, workflow_type=None, bundle_root="/mine")
    workflow.initialize()
    assert workflow.run() == ["/mine"]


def test_without_a_workflow_it_is_the_working_directory():
    assert bundle_root() == "."
    assert ConfigParser(CONFIG).get_parsed_content("bundle_root") == "."
