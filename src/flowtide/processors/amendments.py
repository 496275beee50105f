"""Changes of executions that are over: the command that asks for one in, its events out (pages 466 and 487).

No state; nobody folds these events but the index.
"""

from __future__ import annotations

from datetime import datetime

from flowtide.log.keys import ExecutionKey
from flowtide.model.commands import AmendExecution
from flowtide.model.events import ExecutionEvent, ExecutionStateChanged, LabelsSet
from flowtide.model.records import Cause


def events_of_amendment(
    key: ExecutionKey, command: AmendExecution, now: datetime, place: str | None
) -> list[ExecutionEvent]:
    """What is changed, numbered from the command's `next_event` on; `place` is where the command stands on the log."""
    cause = Cause(command=type(command).__name__, record=place, by=command.by)
    number = command.next_event
    events: list[ExecutionEvent] = []
    if command.labels:
        events.append(
            LabelsSet(
                tenant_id=key.tenant,
                execution_id=key.execution_id,
                number=number,
                at=now,
                cause=cause,
                labels=command.labels,
            )
        )
    if command.state is not None:
        events.append(
            ExecutionStateChanged(
                tenant_id=key.tenant,
                execution_id=key.execution_id,
                number=number + len(events),
                at=now,
                cause=cause,
                state=command.state,
            )
        )
    return events
