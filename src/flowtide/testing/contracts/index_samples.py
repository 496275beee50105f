"""Documents, filters and sortings that the contract of the index, and tests beside it, are tried with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from flowtide.index import documents
from flowtide.index.port import Delete, Index, Write
from flowtide.index.queries import (
    AllOf,
    AnyOf,
    Filter,
    HasLabel,
    Interval,
    Match,
    Operation,
    Query,
    Sort,
    Words,
    where,
)
from flowtide.model import events as e
from flowtide.model.entries import Level, LogEntry
from flowtide.model.records import ENCODER, Cause
from flowtide.model.states import State

START = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
CAUSE = Cause(command="CreateExecution")


def created(number: int, **fields: Any) -> e.ExecutionCreated:
    """The first event of the execution with this number; executions start a minute apart."""
    given: dict[str, Any] = {
        "tenant_id": "main",
        "execution_id": f"execution{number:03d}",
        "number": 0,
        "at": START + timedelta(minutes=number),
        "cause": CAUSE,
        "namespace": "company.team",
        "flow_id": "hello",
        "flow_revision": 1,
    }
    return e.ExecutionCreated(**{**given, **fields})


def execution(number: int, version: int = 0, ended: State | None = None, **fields: Any) -> Write:
    """The write of an execution that was created, and ended `number` seconds later."""
    first = created(number, **fields)
    document = documents.fold_execution(None, first)
    if ended is not None:
        last = e.ExecutionEnded(
            tenant_id=first.tenant_id,
            execution_id=first.execution_id,
            number=1,
            at=first.at + timedelta(seconds=number),
            cause=CAUSE,
            state=ended,
        )
        documents.fold_execution(document, last)
    return documents.execution_write(document, version)


def history(execution_id: str = "execution000", tenant: str = "main") -> list[e.Event]:
    """The events of an execution with one task, a second apart."""
    common: list[dict[str, Any]] = [
        {
            "tenant_id": tenant,
            "execution_id": execution_id,
            "number": number,
            "at": START + timedelta(seconds=number),
            "cause": CAUSE,
        }
        for number in range(7)
    ]
    return [
        e.ExecutionCreated(**common[0], namespace="company.team", flow_id="hello", flow_revision=1),
        e.ExecutionStarted(**common[1]),
        e.TaskRunCreated(**common[2], run_id=f"{execution_id}-a", task_id="a", state=State.SUBMITTED),
        e.TaskRunStarted(**common[3], run_id=f"{execution_id}-a", attempt=0, worker_id="w1"),
        e.TaskRunEnded(**common[4], run_id=f"{execution_id}-a", state=State.SUCCESS, outputs={"x": 1}),
        e.ExecutionEnded(**common[5], state=State.SUCCESS, outputs={"y": 2}),
        e.ExecutionClosed(**common[6]),
    ]


def line(number: int, message: str, **fields: Any) -> Write:
    """The write of a log line; lines come a second apart."""
    given: dict[str, Any] = {
        "tenant_id": "main",
        "namespace": "company.team",
        "flow_id": "hello",
        "timestamp": START + timedelta(seconds=number),
        "level": Level.INFO,
        "message": message,
        "execution_id": "execution000",
    }
    entry = LogEntry(**{**given, **fields})
    return documents.log_write(entry, ENCODER.encode(entry), 0, number)


async def put(index: Index, *writes: Write | Delete) -> None:
    """Write and make it visible to searches; nothing may be refused."""
    assert await index.write(writes) == {}
    await index.refresh()


async def ids(
    index: Index, kind: str, condition: Filter | None, tenant: str = "main", **query: Any
) -> list[str]:
    """The ids that a search finds, in its order."""
    page = await index.search(tenant, Query(kind=kind, filter=condition, **query))
    return [found.id for found in page.results]


def match(field: str, operation: str, value: Any = None) -> Match:
    """A filter of one field."""
    return Match(field, Operation(operation), value)


FILTERS: Sequence[tuple[Filter | None, str]] = [
    (None, "0123456789"),
    (match("flowId", "EQUALS", "hello"), "02468"),
    (match("flowId", "NOT_EQUALS", "hello"), "13579"),
    (match("state", "IN", ["FAILED", "CREATED"]), "069"),
    (match("state", "IN", "FAILED,CREATED"), "069"),
    (match("state.current", "NOT_IN", ["SUCCESS", State.CREATED]), "06"),
    (match("state", "IN", []), ""),
    (match("flowRevision", "GREATER_THAN", 7), "89"),
    (match("flowRevision", "GREATER_THAN_OR_EQUAL_TO", "7"), "789"),
    (match("flowRevision", "LESS_THAN", 2), "01"),
    (match("flowRevision", "LESS_THAN_OR_EQUAL_TO", 2), "012"),
    (match("startDate", "GREATER_THAN_OR_EQUAL_TO", START + timedelta(minutes=8)), "89"),
    (match("startDate", "GREATER_THAN", START + timedelta(minutes=8)), "9"),
    (match("startDate", "LESS_THAN", "2026-03-01T12:01:00.123457Z"), "01"),
    (match("startDate", "LESS_THAN", "2026-03-01T13:01:00.123457+01:00"), "01"),
    (match("endDate", "IS_NULL"), "9"),
    (match("endDate", "IS_NOT_NULL"), "012345678"),
    (match("parentId", "NOT_EQUALS", "execution000"), "012456789"),
    (match("parentId", "NOT_IN", ["execution000"]), "012456789"),
    (match("duration", "GREATER_THAN_OR_EQUAL_TO", 8), "8"),
    (match("id", "CONTAINS", "tion00"), "0123456789"),
    (match("id", "NOT_CONTAINS", "n003"), "012456789"),
    (match("parentId", "NOT_CONTAINS", "000"), "012456789"),
    (match("id", "STARTS_WITH", "execution00"), "0123456789"),
    (match("id", "ENDS_WITH", "n003"), "3"),
    (match("id", "REGEX", "exec.*00[13]"), "13"),
    (match("id", "REGEX", "00[13]"), ""),
    (match("namespace", "PREFIX", "company"), "012346789"),
    (match("namespace", "PREFIX", "company.team"), "01234689"),
    (match("namespace", "PREFIX", "comp"), ""),
    (match("namespace", "EQUALS", "company"), ""),
    (HasLabel("team", "red"), "0"),
    (HasLabel("team"), "01"),
    (HasLabel("team", "red", negated=True), "123456789"),
    (HasLabel("te", "am=red"), ""),
    (HasLabel("system.correlationId", "execution004"), "4"),
    (AllOf((match("flowId", "EQUALS", "hello"), match("state", "EQUALS", "FAILED"))), "06"),
    (AnyOf((match("id", "EQUALS", "execution004"), match("state", "EQUALS", "FAILED"))), "046"),
    (
        AllOf((where(flowId="hello"), AnyOf((where(id="execution001"), where(id="execution002"))))),
        "2",
    ),
    (AllOf(()), "0123456789"),
    (AnyOf(()), ""),
    (where(flowId="hello", state=None), "02468"),
    (match("scheduleDate", "LESS_THAN", "2026-03-02T00:00:00Z"), "5"),
    (Words("EXEC"), "0123456789"),
    (Words("  "), "0123456789"),
    (Words("ution004"), "4"),
    (Words("team 004"), "4"),
    (Words("04"), "4"),
    (Words("com*"), ""),
    (Words("team nowhere"), ""),
    (Words("ecute"), ""),
]
"""Filters, and the last digits of the executions 0 to 9 that they find."""


REFUSED: Sequence[tuple[str, Filter | None]] = [
    ("executions", match("colour", "EQUALS", "red")),
    ("executions", match("startDate", "EQUALS", "yesterday")),
    ("executions", match("flowRevision", "EQUALS", "many")),
    ("executions", match("flowRevision", "CONTAINS", "1")),
    ("executions", match("state", "IN", 3)),
    ("executions", match("id", "EQUALS", {"a": 1})),
    ("executions", match("id", "REGEX", "(")),
    ("task_runs", HasLabel("a", "b")),
    ("events", Words("text")),
    ("flags", None),
]
"""Filters that no kind of this name has."""


INTERVALS: Sequence[tuple[Interval, datetime]] = [
    ("second", datetime(2026, 3, 4, 12, 34, 56, tzinfo=UTC)),
    ("minute", datetime(2026, 3, 4, 12, 34, tzinfo=UTC)),
    ("hour", datetime(2026, 3, 4, 12, tzinfo=UTC)),
    ("day", datetime(2026, 3, 4, tzinfo=UTC)),
    ("week", datetime(2026, 3, 2, tzinfo=UTC)),
    ("month", datetime(2026, 3, 1, tzinfo=UTC)),
    ("year", datetime(2026, 1, 1, tzinfo=UTC)),
]
"""Intervals, and where the one begins that 12:34:56 on a Wednesday falls into."""


SORTINGS: Sequence[tuple[Sort, ...]] = [
    (),
    (Sort("startDate", descending=True),),
    (Sort("flowId"), Sort("state", descending=True)),
    (Sort("endDate"),),
    (Sort("endDate", descending=True), Sort("flowId")),
    (Sort("duration", descending=True),),
    (Sort("parentId"),),
]
