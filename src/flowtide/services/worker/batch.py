"""Records on their way through a worker: what waits at the head of a partition, and what one commit will write."""

from __future__ import annotations

import asyncio

from flowtide.errors import FlowtideError
from flowtide.log.port import Message, Partition, Record
from flowtide.model.jobs import Job, RunTask
from flowtide.services.worker.attempt import Attempt
from flowtide.services.worker.preparation import PreparedTask
from flowtide.services.worker.trigger_jobs import TriggerRun


class Waiting:
    """A record at the head of its partition, decoded once however often it is looked at."""

    __slots__ = ("evaluation", "job", "prepared", "problem", "record", "unreadable")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.job: Job | None = None
        self.prepared: PreparedTask | None = None
        self.problem: FlowtideError | None = None  # why this worker cannot run it
        self.unreadable: str | None = None  # why it is no job
        self.evaluation: asyncio.Task[Message] | None = None


class Batch:
    """What one commit will write, and what starts after it."""

    __slots__ = ("attempts", "finished", "messages", "oversized", "positions", "triggers")

    def __init__(self) -> None:
        self.positions: dict[Partition, int] = {}
        self.messages: list[Message] = []
        self.finished: list[Message] = []  # of inline tasks: lines, metrics and the end report
        self.attempts: list[Attempt] = []
        self.oversized: list[tuple[RunTask, PreparedTask]] = []
        self.triggers: list[TriggerRun] = []
