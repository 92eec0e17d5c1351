# SPDX-License-Identifier: Apache-2.0
"""``result_files.schema.json`` says what runs write."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from jsonschema import Draft202012Validator

SCHEMA = json.loads(resources.files("monai_vafa.results").joinpath("result_files.schema.json").read_text())


def errors(part, content):
    validator = Draft202012Validator({"$ref": f"#/$defs/{part}", "$defs": SCHEMA["$defs"]})
    return [error.message for error in validator.iter_errors(content)]


def test_a_benchmark_writes_what_the_schema_says(benchmark, tmp_path):
    Draft202012Validator.check_schema(SCHEMA)
    made = benchmark(transfer=False, worst_cases={"worst case": ["vafa"]}, hardened={"b": ["unetr", "vafa"]})
    made.run()
    parts = {"benchmark": "benchmark.json", "summary": "a/summary.json"}
    for part, name in parts.items():
        content = json.loads((tmp_path / "benchmark" / name).read_text())
        assert errors(part, content) == []
        assert set(content) == set(SCHEMA["$defs"][part]["required"]) == set(SCHEMA["$defs"][part]["properties"])


@pytest.mark.parametrize("part", ["benchmark", "summary"])
def test_what_is_no_result_file_is_told(part):
    assert "'status' is a required property" in errors(part, {})
