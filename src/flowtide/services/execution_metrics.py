"""Counts what processors decide: events, evaluations and batches in, metrics of A §13 (MET-1, MET-4 to MET-7) out."""

from __future__ import annotations

import time
from collections.abc import Callable

from flowtide.engine.execution import ROOT, Execution
from flowtide.engine.plan import Plan
from flowtide.log.keys import TriggerKey
from flowtide.model.events import (
    ExecutionEnded,
    ExecutionEvent,
    ExecutionQueued,
    ExecutionStarted,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunResubmitted,
    TaskRunRetrying,
)
from flowtide.telemetry import Metrics


class ExecutionMetrics:
    """Is told of every decided event."""

    def __init__(self, metrics: Metrics, *, with_labels: bool) -> None:
        """`with_labels`: whether labels of executions are labels of metrics (KEY-27); else none are looked at."""
        self._metrics = metrics
        self._with_labels = with_labels

    def event(self, execution: Execution, plan: Plan, event: ExecutionEvent) -> None:
        """Count an event; most kinds are counted nowhere."""
        count = _COUNTS.get(type(event))
        if count is None:
            return
        head = execution.head
        labels = {label.key: label.value for label in head.labels} if self._with_labels else None
        count(self._metrics, execution, plan, event, (head.tenant, head.namespace, head.flow_id), labels)


_Place = tuple[str, str, str]
_Labels = dict[str, str] | None


def _run_created(
    metrics: Metrics, execution: Execution, plan: Plan, event: TaskRunCreated, place: _Place, labels: _Labels
) -> None:
    task = plan.tasks[event.task_id]
    metrics.counter("executor.taskrun.created.count", *place, task.type, labels=labels).add()
    if task.construct is not None:
        metrics.counter("executor.flowable.execution.count", *place, task.type).add()
    if event.parent_id not in (None, ROOT) or event.index:
        metrics.counter("executor.taskrun.next.count", *place, task.type, labels=labels).add()


def _run_ended(
    metrics: Metrics, execution: Execution, plan: Plan, event: TaskRunEnded, place: _Place, labels: _Labels
) -> None:
    run = execution.just_ended(event.run_id)
    if run is None:
        return
    task = plan.tasks[run.task_id]
    state = event.state.value
    metrics.counter("executor.taskrun.ended.count", *place, task.type, state, labels=labels).add()
    seconds = (event.at - run.created).total_seconds()
    metrics.timer("executor.taskrun.ended.duration", *place, task.type, state, labels=labels).observe(seconds)
    if task.is_runnable:
        metrics.counter("executor.workertaskresult.count", *place, task.type, state).add()


def _run_retrying(
    metrics: Metrics, execution: Execution, plan: Plan, event: TaskRunRetrying, place: _Place, labels: _Labels
) -> None:
    metrics.counter("executor.execution.delay.created.count", *place).add()


def _run_resubmitted(
    metrics: Metrics,
    execution: Execution,
    plan: Plan,
    event: TaskRunResubmitted,
    place: _Place,
    labels: _Labels,
) -> None:
    metrics.counter("executor.worker.job.resubmit.count").add()


def _started(
    metrics: Metrics,
    execution: Execution,
    plan: Plan,
    event: ExecutionStarted,
    place: _Place,
    labels: _Labels,
) -> None:
    metrics.counter("executor.execution.started.count", *place, labels=labels).add()


def _queued(
    metrics: Metrics, execution: Execution, plan: Plan, event: ExecutionQueued, place: _Place, labels: _Labels
) -> None:
    metrics.counter("executor.execution.queued.count", *place).add()


def _ended(
    metrics: Metrics, execution: Execution, plan: Plan, event: ExecutionEnded, place: _Place, labels: _Labels
) -> None:
    state = event.state.value
    metrics.counter("executions", *place, state, labels=labels).add()
    metrics.counter("executor.execution.end.count", *place, state, labels=labels).add()
    seconds = (event.at - execution.head.created).total_seconds()
    metrics.timer("executor.execution.duration", *place, state, labels=labels).observe(seconds)


_COUNTS: dict[type, Callable[..., None]] = {
    TaskRunCreated: _run_created,
    TaskRunEnded: _run_ended,
    TaskRunRetrying: _run_retrying,
    TaskRunResubmitted: _run_resubmitted,
    ExecutionStarted: _started,
    ExecutionQueued: _queued,
    ExecutionEnded: _ended,
}


class ProcessorMetrics:
    """Is told of every batch of one processor; `on_partitions` of partitions that came or went."""

    def __init__(
        self, metrics: Metrics, topic: str, on_partitions: Callable[[int], None] | None = None
    ) -> None:
        self._process = metrics.timer("executor.execution.message.process", topic)
        self._receive = metrics.timer("queue.receive.duration", topic)
        self._size = metrics.gauge("queue.poll.size", topic)
        self._dead = metrics.counter("executor.dead.letter.count", topic)
        self._owned = metrics.gauge("executor.thread.count") if topic == "execution_commands" else None
        self._on_partitions = on_partitions

    def batch(self, records: int, seconds: float) -> None:
        """A batch was committed."""
        self._process.observe(seconds)
        self._receive.observe(seconds)
        self._size.set(records)

    def dead_letter(self, topic: str) -> None:
        """A record was put aside."""
        self._dead.add()

    def partitions(self, owned: int) -> None:
        """The partitions changed hands."""
        if self._owned is not None:
            self._owned.set(owned)
        if self._on_partitions is not None:
            self._on_partitions(owned)


class ScheduleMetrics(ProcessorMetrics):
    """Is told of every round of a scheduler and of every date that it evaluated."""

    def __init__(
        self,
        metrics: Metrics,
        topic: str,
        on_partitions: Callable[[int], None] | None = None,
        *,
        seconds: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(metrics, topic, on_partitions)
        self._metrics = metrics
        self._seconds = seconds
        self._began = 0.0
        self._rounds = metrics.counter("scheduler.loop.count")
        self._round = metrics.timer("scheduler.evaluation.loop.duration")
        # Schedules are evaluated here; the gauge is for triggers that workers evaluate.
        self._evaluating: dict[int, int] = {}
        self._running = metrics.gauge("scheduler.evaluate.running.count")
        self._running.set(0)

    def batch(self, records: int, seconds: float) -> None:
        """A round was committed."""
        super().batch(records, seconds)
        self._rounds.add()
        self._round.observe(seconds)

    def partitions(self, owned: int) -> None:
        """The partitions changed hands: the scheduler has each of them say again what is at workers."""
        self._evaluating.clear()
        self._running.set(0)
        super().partitions(owned)

    def evaluating(self, partition: int, count: int) -> None:
        """So many triggers of a partition are at workers now."""
        self._evaluating[partition] = count
        self._running.set(sum(self._evaluating.values()))

    def begins(self, key: TriggerKey) -> None:
        """A date is evaluated."""
        self._began = self._seconds()

    def ends(self, key: TriggerKey, *, fired: bool) -> None:
        """It was evaluated; `fired`: an execution is started for it."""
        place = (key.tenant, key.namespace, key.flow_id)
        self._metrics.counter("scheduler.evaluate.count", *place).add()
        self._metrics.timer("scheduler.evaluate.duration", *place).observe(self._seconds() - self._began)
        if fired:
            self._metrics.counter("scheduler.trigger.count", *place).add()
