"""The table of kinds, the SQL schema and the mapping files say the same."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from typing import Any

import msgspec
import pytest

from flowtide.errors import IndexQueryInvalid
from flowtide.index.elasticsearch.indices import Indices, Rotation
from flowtide.index.embedded.tables import SCHEMA, TABLES
from flowtide.index.kinds import KINDS, FieldType, microseconds, numbered_id, parse_microseconds
from flowtide.testing.contracts.index_samples import START

_TYPES = {
    FieldType.KEYWORD: "keyword",
    FieldType.DATE: "date_nanos",
    FieldType.INTEGER: "long",
    FieldType.NUMBER: "double",
    FieldType.BOOLEAN: "boolean",
    FieldType.TEXT: "text",
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_schema_has_a_column_for_each_field(kind: str) -> None:
    """Every field is a column, NOT NULL where it is required, and there is none besides."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    columns = {row[1]: bool(row[3]) for row in connection.execute(f"PRAGMA table_info({kind})")}
    connection.close()
    own = {"row", "tenant", "doc", "version", "labels", "body"}
    assert set(TABLES[kind].columns) - {"row"} == set(columns) - {"row"}
    assert {name: needed for name, needed in columns.items() if name not in own} == {
        field.column: field.required for field in KINDS[kind].fields
    }


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_mapping_has_a_property_for_each_field(kind: str) -> None:
    """Every field is mapped with its type, free text is gathered, and nothing else is mapped."""
    path = files("flowtide.index.elasticsearch").joinpath("mappings", f"{kind}.json")
    mapping = msgspec.json.decode(path.read_bytes())
    assert mapping["description"].endswith(".")
    flat: dict[str, Any] = {}
    for name, value in mapping["properties"].items():
        for inner, property_ in value.get("properties", {"": value}).items():
            flat[f"{name}.{inner}".rstrip(".")] = property_
    assert flat.pop("tenantId") == {"type": "keyword"}
    fields = {field.path: field for field in KINDS[kind].fields}
    assert {name: value["type"] for name, value in flat.items()} == {
        name: _TYPES[field.type] for name, field in fields.items()
    }
    gathered = {name for name, value in flat.items() if value.get("copy_to") == "docText"}
    assert gathered == {name for name in KINDS[kind].words if fields[name].type is not FieldType.TEXT}


def test_names_and_aliases_lead_to_fields() -> None:
    """A field is found by its path and by each alias; another name is refused and the known ones are told."""
    executions = KINDS["executions"]
    assert executions.field("state").path == "state.current"
    assert executions.field("duration").path == "durationSeconds"
    assert executions.field("triggerExecutionId").path == "parentId"
    with pytest.raises(IndexQueryInvalid, match="executions have no field colour; they have id, namespace"):
        executions.field("colour")


def test_dates_keep_their_microseconds() -> None:
    """Both ways of writing a moment as a number agree to the microsecond."""
    assert microseconds(START) == parse_microseconds("2026-03-01T12:00:00.123456Z") == 1_772_366_400_123_456


def test_ids_of_records_sort_as_the_log_does() -> None:
    """Text order is the order of partition and offset."""
    positions = [(0, 9), (0, 10), (0, 1 << 40), (1, 0), (10, 5)]
    assert sorted(numbered_id(*position) for position in positions) == [numbered_id(*at) for at in positions]


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (Rotation.NONE, "p_events-000001"),
        (Rotation.DAILY, "p_events-2026.03.01"),
        (Rotation.WEEKLY, "p_events-2026.w09"),
        (Rotation.MONTHLY, "p_events-2026.03"),
        (Rotation.YEARLY, "p_events-2026"),
    ],
)
def test_the_date_of_creation_chooses_the_index(rotation: Rotation, expected: str) -> None:
    """A document's index follows from its own date, so that every write of it goes there."""
    indices = Indices("p_", rotation)
    assert indices.of("events", ("x", 1, "ExecutionStarted", microseconds(START), None)) == expected
    assert indices.of("flows", ("f",)) == "p_flows-000001"
