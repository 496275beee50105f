"""The statements that write, one set a kind, derived from the table of kinds and `schema.sql`."""

from __future__ import annotations

from functools import cached_property
from importlib.resources import files
from typing import Any

import msgspec

from flowtide.index.kinds import KINDS, Kind
from flowtide.index.port import Write

SCHEMA = files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
STATISTICS = files(__package__).joinpath("statistics.sql").read_text(encoding="utf-8")
SCHEMA_VERSION = 3  # a file of another version is refused; it is rebuilt from the log

CHUNKS = (128, 16, 1)
"""Rows per statement.  One statement for many rows gives the interpreter lock away once, not once a row."""

_TEXT = msgspec.json.Encoder()


class Table:
    """How documents of one kind become rows."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind.name
        # Whether the document's id is one of its fields, or stands in a column of its own.
        self._own_id = kind.name in ("executions", "task_runs")

    @property
    def identity(self) -> str:
        """The SQL of a document's id, or of what sorts like it."""
        if self.kind.numbered:
            return "row"
        if self.name == "events":
            return "execution_id || '/' || printf('%010d', number)"
        return "id" if self._own_id else "doc"

    @property
    def has_row(self) -> bool:
        """Whether rows have a number; events are kept together by execution instead."""
        return self.name != "events"

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns in the order of `row`."""
        first = ("row",) if self.kind.numbered else () if self._own_id or self.name == "events" else ("doc",)
        labels = ("labels",) if self.kind.labels else ()
        return (*first, "tenant", "version", *(field.column for field in self.kind.fields), *labels, "body")

    def row(self, write: Write) -> list[Any]:
        """The values of one document.  Raises ValueError when its id is none of this kind."""
        row: list[Any]
        if self.kind.numbered:
            row = [int(write.id), write.tenant, write.version, *write.values]
        elif self._own_id or self.name == "events":
            row = [write.tenant, write.version, *write.values]
        else:
            row = [write.id, write.tenant, write.version, *write.values]
        if self.kind.labels:
            row.append(_TEXT.encode(write.labels).decode() if write.labels else None)
        row.append(write.body)
        return row

    @cached_property
    def inserts(self) -> dict[int, str]:
        """The statement for each number of rows in CHUNKS."""
        marks = f"({', '.join('?' * len(self.columns))})"
        if self.kind.fixed:
            conflict = "ON CONFLICT DO NOTHING"
        else:
            changed = [name for name in self.columns if name not in ("tenant", self.identity)]
            settings = ", ".join(f"{name} = excluded.{name}" for name in changed)
            conflict = (
                f"ON CONFLICT (tenant, {self.identity}) DO UPDATE SET {settings}"
                f" WHERE excluded.version >= {self.name}.version"
            )
        head = f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES "  # noqa: S608 - names are ours
        return {count: f"{head}{', '.join([marks] * count)} {conflict}" for count in CHUNKS}

    @cached_property
    def label_inserts(self) -> dict[int, str]:
        """The statement for each number of labels in CHUNKS: tenant, id, version, key and value of each.

        A label counts only if the document stands at this version, so one of an outdated write is not added.
        """
        heads = "v.column1 AS tenant, v.column4 AS key, v.column5 AS value"
        return {
            count: (
                f"INSERT OR IGNORE INTO {self.name}_labels (tenant, key, value, row)"  # noqa: S608 - names are ours
                f" SELECT {heads}, d.row FROM (VALUES {', '.join(['(?, ?, ?, ?, ?)'] * count)}) AS v"
                f" CROSS JOIN {self.name} AS d"
                f" ON d.tenant = v.column1 AND d.{self.identity} = v.column2 AND d.version = v.column3"
            )
            for count in CHUNKS
        }

    def many(self, count: int) -> str:
        """The condition that names this many documents: for each, the tenant and `id_values` are parameters."""
        if self.name == "events":
            return f"(tenant, execution_id, number) IN (VALUES {', '.join(['(?, ?, ?)'] * count)})"
        if self.kind.numbered:
            # `+tenant` keeps the planner from choosing an index of tenants over the rows that are named.
            return " OR ".join(["(+tenant = ? AND row = ?)"] * count)
        return f"(tenant, {self.identity}) IN (VALUES {', '.join(['(?, ?)'] * count)})"

    def id_values(self, identifier: str) -> list[Any]:
        """The parameters of `many` after the tenant.  Raises ValueError when it is no id of this kind."""
        if self.kind.numbered:
            return [int(identifier)]
        if self.name == "events":
            execution, _, number = identifier.rpartition("/")
            return [execution, int(number)]
        return [identifier]

    def id_text(self, value: Any) -> str:
        """The document's id from what `identity` gave."""
        return f"{value:019d}" if self.kind.numbered else str(value)


TABLES = {name: Table(kind) for name, kind in KINDS.items()}
