"""What all records share: the base struct, labels, causes, and how records are written and read as JSON.

Names on the wire are camelCase, dates ISO-8601 in UTC with microseconds, fields without a value are left out, so that
ksqlDB, Kibana, kcat and other programs can read every topic.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of a record."""


class Label(Value, frozen=True):
    """A key and a value that executions are found by (LAB-01)."""

    key: str
    value: str


class Cause(Value, frozen=True):
    """What led to an event: an earlier event of the same execution, or a command from outside.

    Exactly one of `event` and `command` is set.
    """

    event: int | None = None  # the number of the event within the execution
    command: str | None = (
        None  # the type of the command, e.g. "CreateExecution", or of a timer, e.g. "FireTimer"
    )
    record: str | None = None  # where the command stands on the log: "partition/offset" of execution_commands
    by: str | None = None  # who asked: a user's name, a worker's or trigger's id


class Breakpoint(Value, frozen=True):
    """A task before which an execution waits, so that a person can look; of a loop, one value or all."""

    id: str
    value: str | None = None


class TriggerInfo(Value, frozen=True):
    """What started an execution, as `{{ trigger }}` and the API show it."""

    id: str  # the trigger's id in its flow, or the parent's task id for a subflow
    type: str  # the trigger's type
    variables: dict[str, Any] = {}  # what `{{ trigger.x }}` gives
    log_file: str | None = None  # URI of the lines of its evaluation (`logToFile`)
    chain: int = 0  # Flow triggers that led to the execution, one after the other, this one included


class ParentRun(Value, frozen=True):
    """The task run that started a child execution and, when `wait`, is told of its end."""

    execution_id: str  # the parent execution, of the same tenant
    run_id: str  # the task run in the parent
    namespace: str
    flow_id: str
    flow_revision: int
    wait: bool = True  # whether the parent waits for the end
    ancestors: list[str] = []  # the executions above, nearest first, this parent included
    outputs: dict[str, Any] = {}  # expressions that it wants evaluated at the end (SUB-03, deprecated)


def utc(moment: datetime) -> datetime:
    """Insist on a moment in UTC.  Raises ValueError for a naive one, which would mean another time elsewhere."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be recorded")
    return moment.astimezone(UTC)


def format_date(moment: datetime) -> str:
    """A moment as documents and expressions show it: ISO-8601 in UTC with six fractional digits and `Z`."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


ENCODER = msgspec.json.Encoder(decimal_format="number")
"""Encodes every record, document and piece of state."""


UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a decoder raises for bytes that are not what it reads: no JSON, no UTF-8, nested without end, another shape."""


def encode(value: Any) -> bytes:
    """Write a record as JSON.  Raises TypeError for what JSON cannot carry."""
    return ENCODER.encode(value)
