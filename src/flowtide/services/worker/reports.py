"""The messages by which a worker reports: started, ended, evaluated, and records that it could not read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flowtide.errors import ExpressionError, FlowtideError
from flowtide.log.port import Message, Record
from flowtide.model.commands import (
    ReportDirectoryOpened,
    ReportEvaluation,
    ReportRunEnded,
    ReportRunStarted,
)
from flowtide.model.dead_letters import dead_letter
from flowtide.model.jobs import Evaluate, RunTask
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.services.worker.preparation import property_of

COMMANDS = "execution_commands"
DEAD_LETTERS = "dead_letters"
_LONGEST_ERROR_CHARACTERS = 8_000


class Reports:
    """Builds the messages of one worker."""

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id

    def started(self, job: RunTask, at: datetime) -> Message:
        """It runs from now on."""
        command = ReportRunStarted(
            at=at, by=self._worker_id, run_id=job.run_id, attempt=job.attempt, worker_id=self._worker_id
        )
        return _to(job, encode(command))

    def opened(self, job: RunTask, at: datetime) -> Message:
        """The directory that the job asked for is there (FLO-23)."""
        command = ReportDirectoryOpened(
            at=at, by=self._worker_id, run_id=job.run_id, attempt=job.attempt, worker_id=self._worker_id
        )
        return _to(job, encode(command))

    def ended(
        self,
        job: RunTask,
        at: datetime,
        state: State,
        outputs: dict[str, Any],
        error: str | None,
    ) -> Message:
        """It is over.  Raises TypeError, ValueError, OverflowError or RecursionError for outputs beyond JSON."""
        command = ReportRunEnded(
            at=at,
            by=self._worker_id,
            run_id=job.run_id,
            attempt=job.attempt,
            worker_id=self._worker_id,
            state=state,
            outputs=outputs,
            error=error,
        )
        return _to(job, encode(command))

    def evaluated(self, job: Evaluate, at: datetime, values: dict[str, Any], error: str | None) -> Message:
        """The expressions of a flowable task have these values.  Raises as `ended` does."""
        command = ReportEvaluation(at=at, by=self._worker_id, run_id=job.run_id, values=values, error=error)
        return _to(job, encode(command))


def _to(job: RunTask | Evaluate, value: bytes) -> Message:
    return Message(topic=COMMANDS, key=f"{job.tenant_id}/{job.execution_id}", value=value)


def put_aside(record: Record, *, reason: str, group: str, at: datetime) -> Message:
    """A record that is no job, kept with the reason so that it can be looked at and replayed."""
    letter = dead_letter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        reason=reason,
        group=group,
        at=at,
    )
    return Message(topic=DEAD_LETTERS, key=record.key or "-", value=encode(letter))


def described(error: BaseException, document: Mapping[str, Any]) -> str:
    """What went wrong in one sentence for people; names the property whose template failed."""
    text = error.message if isinstance(error, FlowtideError) else str(error)
    if not isinstance(error, FlowtideError):
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
    if isinstance(error, ExpressionError) and error.source:
        place = property_of(document, error.source)
        if place is not None:
            text = f"property `{place}`: {text}"
    text = text.encode("utf-8", "replace").decode()
    if len(text) > _LONGEST_ERROR_CHARACTERS:
        text = f"{text[:_LONGEST_ERROR_CHARACTERS]}..."
    return text
