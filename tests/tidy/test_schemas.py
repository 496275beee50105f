"""The checked-in schemas are those of the code."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from flowtide.cli.schemas import RECORDS, build_schemas, differences, record_schema
from flowtide.log.topics import load_topics
from flowtide.services.plugin_schemas import flow_schema
from flowtide.services.plugins import discover_plugins
from tests.tidy.repository import ROOT

FLOW = """
id: hello
namespace: company.team
labels: {team: data}
inputs: [{id: who, type: STRING, defaults: you}]
tasks:
  - id: all
    type: io.kestra.plugin.core.flow.Sequential
    tasks: [{id: wait, type: io.kestra.plugin.core.flow.Pause, pauseDuration: PT1M}]
triggers:
  - {id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: "@daily"}
"""


def test_schemas_do_not_drift() -> None:
    """`schemas/` holds what `make schemas` writes."""
    files = build_schemas(discover_plugins(), load_topics())
    assert differences(ROOT / "schemas", files) == [], "run `make schemas` and look at what changed"


def test_differences_are_found(tmp_path: Path) -> None:
    """A missing, a changed and a superfluous file are each named."""
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "old.json").write_text("{}", encoding="utf-8")
    (tmp_path / "records" / "changed.json").write_text("{}", encoding="utf-8")
    files = {"records/changed.json": "[]", "records/new.json": "{}"}
    assert differences(tmp_path, files) == ["records/changed.json", "records/new.json", "records/old.json"]


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_record_schemas_are_valid(name: str) -> None:
    """Each record schema is a JSON Schema."""
    Draft202012Validator.check_schema(record_schema(name))


def test_the_flow_schema_accepts_flows_and_refuses_others() -> None:
    """An editor that uses the schema accepts a flow, and marks a wrong property deep inside it."""
    schema = flow_schema(discover_plugins())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    flow = yaml.safe_load(FLOW)
    assert list(validator.iter_errors(flow)) == []
    flow["tasks"][0]["tasks"][0]["pauseDuraton"] = "PT1M"
    assert not validator.is_valid(flow)


def test_asyncapi_is_readable() -> None:
    """Every payload that the document names is a schema beside it."""
    document = yaml.safe_load((ROOT / "schemas" / "asyncapi.yaml").read_text(encoding="utf-8"))
    for channel in document["channels"].values():
        path = ROOT / "schemas" / channel["messages"]["record"]["payload"]["$ref"]
        assert msgspec.json.decode(path.read_bytes())
