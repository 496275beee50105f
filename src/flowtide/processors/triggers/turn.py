"""One trigger while something is decided about it: what it is, what becomes of it, and what is sent because of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from flowtide.errors import ScheduleInvalid
from flowtide.log.keys import ExecutionKey, TriggerKey
from flowtide.log.port import Message
from flowtide.model.commands import CreateExecution
from flowtide.model.entries import Level, LogEntry
from flowtide.model.jobs import StopTrigger
from flowtide.model.records import Label, TriggerInfo, encode
from flowtide.processors.triggers.pieces import Definition, Moving
from flowtide.processors.triggers.plans import Plan, RealtimePlan

_FROM = Label(key="system.from", value="trigger")


@dataclass(kw_only=True)
class TriggerTurn:
    """State in `moving`, which deciders replace; what they send gathers in `messages`."""

    key: TriggerKey
    definition: Definition
    moving: Moving
    plan: Plan | str  # or why the definition cannot be read
    now: datetime
    message_limit_bytes: int
    job_partitions: int | None  # of the topic of jobs; None leaves the choice to the log
    default_group: str | None = None  # the worker group of triggers that name none
    messages: list[Message] = field(default_factory=list)
    starts: int = 0  # executions that were started

    def change(self, **values: Any) -> None:
        """Replace fields of the moving piece."""
        self.moving = msgspec.structs.replace(self.moving, **values)

    @property
    def enabled(self) -> bool:
        """Whether it may fire."""
        return not (self.moving.switched_off or self.definition.disabled)

    def start(
        self,
        execution_id: str,
        *,
        variables: dict[str, Any],
        inputs: dict[str, Any] | None = None,
        labels: Sequence[Label] = (),
        date: datetime | None = None,
        error: str | None = None,
        log_file: str | None = None,
        kept: dict[str, Any] | None = None,
    ) -> None:
        """Have an execution created, and wait for its end unless executions may overlap (TRG-03).

        `error`: it is created as FAILED.  `kept` are the variables that the trigger is shown with.  Raises
        ScheduleInvalid when the command would be too large; nothing is changed then.
        """
        plan = self.plan
        assert not isinstance(plan, str)
        trigger = plan.trigger
        waits = not trigger.allow_concurrent and not isinstance(plan, RealtimePlan)
        command = CreateExecution(
            at=self.now,
            by=self.key.trigger_id,
            namespace=self.key.namespace,
            flow_id=self.key.flow_id,
            flow_revision=self.definition.flow_revision,
            inputs=inputs or {},
            labels=[*trigger.labels, *labels, _FROM],
            trigger=TriggerInfo(
                id=self.key.trigger_id, type=trigger.type, variables=variables, log_file=log_file
            ),
            schedule_date=date,
            release_trigger=waits or bool(trigger.stop_after),
            error=error,
        )
        value = encode(command)
        if len(value) > self.message_limit_bytes:
            raise ScheduleInvalid(
                f"the inputs are too large: with the trigger's variables they have {len(value):,} bytes"
            )
        execution = ExecutionKey(self.key.tenant, execution_id)
        self.messages.append(Message(topic="execution_commands", key=str(execution), value=value))
        self.starts += 1
        self.change(execution_id=execution_id if waits else None, variables=kept or {}, error=error)

    def log(self, level: Level, message: str) -> None:
        """Write a line to the trigger's log."""
        entry = LogEntry(
            tenant_id=self.key.tenant,
            namespace=self.key.namespace,
            flow_id=self.key.flow_id,
            trigger_id=self.key.trigger_id,
            timestamp=self.now,
            level=level,
            message=message,
        )
        self.messages.append(Message(topic="logs", key=str(self.key), value=encode(entry)))

    def stop_job(self, job_id: str | None = None) -> None:
        """Have workers end a job; without an id the one that it waits for, which is forgotten."""
        if job_id is None:
            if self.moving.job is None:
                return
            job_id = self.moving.job.id
            self.change(job=None)
        control = StopTrigger(tenant_id=self.key.tenant, job_id=job_id, at=self.now)
        self.messages.append(Message(topic="worker_controls", key=str(self.key), value=encode(control)))
