"""What a decision sends: values that the executions processor turns into messages with topics and keys."""

from __future__ import annotations

import msgspec

from flowtide.model.commands import ExecutionCommand
from flowtide.model.entries import LogEntry
from flowtide.model.flow_commands import FlowCommand
from flowtide.model.jobs import Control, TaskJob
from flowtide.model.trigger_records import TriggerCommand


class ToWorkers(msgspec.Struct, frozen=True):
    """A job that one worker takes."""

    job: TaskJob
    worker_group: str | None = None


class ToEveryWorker(msgspec.Struct, frozen=True):
    """A control that every worker reads."""

    control: Control


class ToExecution(msgspec.Struct, frozen=True):
    """A command to an execution of the same tenant, perhaps this one."""

    execution_id: str
    command: ExecutionCommand


class ToFlow(msgspec.Struct, frozen=True):
    """A command to the *flows* processor, about a flow of the same tenant."""

    namespace: str
    flow_id: str
    command: FlowCommand


class ToTrigger(msgspec.Struct, frozen=True):
    """A command to the *triggers* processor, about a trigger of the same tenant."""

    namespace: str
    flow_id: str
    trigger_id: str
    command: TriggerCommand


class ToLog(msgspec.Struct, frozen=True):
    """A line of the execution's log."""

    entry: LogEntry


Outgoing = ToWorkers | ToEveryWorker | ToExecution | ToFlow | ToTrigger | ToLog
