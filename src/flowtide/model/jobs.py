"""Jobs for workers, on the topic `worker_jobs`, and controls, on `worker_controls`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Value


class FlowRef(Value, frozen=True):
    """The flow that a job belongs to."""

    namespace: str
    id: str
    revision: int


class RunTask(Value, frozen=True, tag_field="type", tag=True):
    """Run one attempt of a task run."""

    tenant_id: str
    execution_id: str
    run_id: str
    attempt: int  # from 0
    task_id: str
    flow: FlowRef
    task: msgspec.Raw  # the task as JSON, plugin defaults applied; the same bytes for every run of a revision
    variables: msgspec.Raw  # what its expressions name, as JSON: {"inputs": {...}, "outputs": {...}, ...}
    at: datetime  # when it was handed out
    parent_run_id: str | None = None
    value: str | None = None
    trace_parent: str | None = None
    execution_kind: str | None = None
    ancestors: list[str] = []  # ids of the executions that it descends from, whose files it may read too


class Evaluate(Value, frozen=True, tag_field="type", tag=True):
    """Evaluate expressions with input or output, or on encrypted values, on behalf of a flowable task."""

    tenant_id: str
    execution_id: str
    run_id: str
    task_id: str
    flow: FlowRef
    expressions: dict[str, Any]  # property -> template, or a structure of them
    variables: msgspec.Raw
    at: datetime
    ancestors: list[str] = []  # as above
    protected: list[str] = []  # properties in whose values texts that show a secret are encrypted


class EvaluateTrigger(Value, frozen=True, tag_field="type", tag=True):
    """Evaluate a polling trigger once."""

    tenant_id: str
    flow: FlowRef
    trigger_id: str
    job_id: str  # of the execution that is created when it fires; the same when it is handed out again
    trigger: msgspec.Raw  # as JSON, plugin defaults applied
    variables: msgspec.Raw  # {"vars": {...}, "trigger": {"date": ...}}
    at: datetime  # when it was handed out


class ListenTrigger(Value, frozen=True, tag_field="type", tag=True):
    """Listen to a realtime trigger until told to stop."""

    tenant_id: str
    flow: FlowRef
    trigger_id: str
    job_id: str
    trigger: msgspec.Raw
    variables: msgspec.Raw
    at: datetime


TaskJob = RunTask | Evaluate
TriggerJob = EvaluateTrigger | ListenTrigger
Job = RunTask | Evaluate | EvaluateTrigger | ListenTrigger
JOB_DECODER: msgspec.json.Decoder[Job] = msgspec.json.Decoder(Job)


class KillRun(Value, frozen=True, tag_field="type", tag=True):
    """Every worker reads this; the one that runs it kills it."""

    tenant_id: str
    execution_id: str
    run_id: str  # "" for every task run of the execution that was handed out until `at`
    at: datetime
    attempt: int | None = None  # only this attempt; None: whichever it runs


class StopTrigger(Value, frozen=True, tag_field="type", tag=True):
    """Every worker reads this; the one that evaluates or listens for this job ends that."""

    tenant_id: str
    job_id: str
    at: datetime


class RunInDirectory(Value, frozen=True, tag_field="type", tag=True):
    """The worker that holds the directory runs the job in it; all others pass it over (FLO-23)."""

    tenant_id: str
    execution_id: str
    worker_id: str  # that said that it holds it
    directory_run_id: str  # the task run of the WorkingDirectory
    directory_attempt: int
    job: RunTask


class CloseDirectory(Value, frozen=True, tag_field="type", tag=True):
    """The worker that holds the directory keeps what is to stay, removes it and reports the end of its task run."""

    tenant_id: str
    execution_id: str
    worker_id: str
    run_id: str  # the task run of the WorkingDirectory
    attempt: int
    at: datetime
    failed: bool = False  # a task inside failed
    discard: bool = False  # keep nothing, and report nothing


Control = KillRun | StopTrigger | RunInDirectory | CloseDirectory
CONTROL_DECODER: msgspec.json.Decoder[Control] = msgspec.json.Decoder(Control)
