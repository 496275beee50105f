"""Flows on the wire, and plugins in records."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest

from flowtide.model.source import parse_flow
from flowtide.model.wire import flow_to_wire, plugin_from_record, plugin_to_record
from tests.unit.model.plugins import REGISTRY

SOURCE = """\
# a comment
id: flow
namespace: company.team
labels: {team: data}
inputs: [{name: who, type: SELECT, values: [a, true]}]
pluginDefaults: [{type: test.Say, values: {level: WARN}}]
variables: {nothing: null, text: "{{ x }}"}
tasks:
  - id: say
    type: old.Say
    message: hi
    timeout:
  - {id: wait, type: flow.Pause, delay: PT1S, onResume: [{id: ok, type: BOOL}]}
  - id: choose
    type: flow.Switch
    value: a
    cases: {a: [{id: b, type: test.Say, message: b, retry: {type: constant, interval: PT1M}}]}
    finally: [{id: c, type: test.Say, message: c}]
  - {id: child, type: flow.Subflow, namespace: n, flowId: f, labels: {a: "{{ b }}"}}
triggers: [{id: daily, type: trigger.Schedule, cron: "@daily"}]
"""


def test_a_flow_shows_what_was_written() -> None:
    """Tasks and triggers keep their properties without plugin defaults; parts of the flow get their own ones."""
    flow = parse_flow(SOURCE, REGISTRY).valid()
    wire = flow_to_wire(flow, SOURCE, 3, updated=datetime(2024, 1, 1, 10, tzinfo=UTC))
    assert json.loads(json.dumps(wire)) == wire
    assert wire["source"] == SOURCE
    assert (wire["id"], wire["namespace"], wire["revision"]) == ("flow", "company.team", 3)
    assert (wire["disabled"], wire["deleted"], wire["updated"]) == (
        False,
        False,
        "2024-01-01T10:00:00.000000Z",
    )
    assert wire["labels"] == [{"key": "team", "value": "data"}]
    assert wire["tasks"][0] == {"id": "say", "type": "old.Say", "message": "hi"}
    assert wire["variables"] == {"nothing": None, "text": "{{ x }}"}
    assert wire["triggers"] == [{"id": "daily", "type": "trigger.Schedule", "cron": "@daily"}]
    assert wire["inputs"][0]["id"] == "who"
    assert wire["inputs"][0]["values"] == ["a", "true"]
    assert "concurrency" not in wire
    assert "description" not in wire


def test_a_flow_without_source_shows_defaults_too() -> None:
    """Without its source the tasks are those of the model."""
    flow = parse_flow(SOURCE, REGISTRY).valid()
    wire = flow_to_wire(flow, None, None)
    assert "source" not in wire
    assert "revision" not in wire
    assert wire["tasks"][0]["level"] == "WARN"


@pytest.mark.parametrize("name", ["say", "wait", "choose", "child"])
def test_tasks_survive_their_record(name: str) -> None:
    """A task read from its record is the task that was written, and gives the same bytes again."""
    task = parse_flow(SOURCE, REGISTRY).valid().tasks_by_id[name]
    record = plugin_to_record(task)
    again = plugin_from_record("task", record, REGISTRY)
    assert again == task
    assert bytes(plugin_to_record(again)) == bytes(record)


def test_unknown_types_in_records_are_named() -> None:
    """A worker without a plugin says which one it lacks."""
    with pytest.raises(LookupError, match=r"there is no task of type `far\.Away`"):
        plugin_from_record("task", msgspec.Raw(b'{"id":"a","type":"far.Away"}'), REGISTRY)
