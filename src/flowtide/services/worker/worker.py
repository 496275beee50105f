"""The worker: jobs of one topic come in, task runs are run, and what happened goes out as commands, lines and metrics.

A job's position is committed together with the report that it runs (architecture §4).  Inline tasks take
microseconds and change nothing outside, so they run before that commit, and their end, their lines and their
metrics are part of it: such a job is one atomic write, and runs again only when nothing of it was seen.
Jobs beyond the free slots wait in their partition, which is paused: the queue is seen as lag, not as memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from random import Random
from typing import Any, Final

import msgspec

from flowtide.errors import Fenced, FlowtideError, LogUnavailable, MessageTooLarge, TaskWarning
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Consumer, Log, Message, Partition, Record
from flowtide.model.commands import LoseWorker
from flowtide.model.directories import DirectoryBlock
from flowtide.model.encrypted import Cipher
from flowtide.model.jobs import (
    CONTROL_DECODER,
    JOB_DECODER,
    CloseDirectory,
    Evaluate,
    EvaluateTrigger,
    KillRun,
    ListenTrigger,
    RunInDirectory,
    RunTask,
    StopTrigger,
    TriggerJob,
)
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.model.task import RunnableTask
from flowtide.secrets import Secrets
from flowtide.services.platform import Platforms
from flowtide.services.worker.attempt import Attempt, Outcome, Tools
from flowtide.services.worker.awaiting import first_of, within
from flowtide.services.worker.batch import Batch, Waiting
from flowtide.services.worker.context import TaskContext
from flowtide.services.worker.directories import Directories
from flowtide.services.worker.encrypted import mentions_encrypted
from flowtide.services.worker.evaluation import evaluate_job
from flowtide.services.worker.kills import Kills, named_by
from flowtide.services.worker.outbox import Outbox
from flowtide.services.worker.outputs import checked_outputs, mentions_offloaded
from flowtide.services.worker.oversized import smaller
from flowtide.services.worker.preparation import Preparation, PreparedTask, variables_of
from flowtide.services.worker.reports import COMMANDS, Reports, described, put_aside
from flowtide.services.worker.settings import Clock, WorkerSettings
from flowtide.services.worker.triggers import TriggerRuns
from flowtide.storage import Storage
from flowtide.telemetry import Metrics, Tracing

CONTROLS: Final = "worker_controls"
_POLL: Final = timedelta(seconds=1)
_POLL_WHILE_BLOCKED: Final = timedelta(milliseconds=20)  # a slot may become free at any moment
_RETRY: Final = timedelta(milliseconds=500)
_FLUSH: Final = timedelta(seconds=5)  # how long a stopping worker tries to write its last reports

_RunKey = tuple[str, str, str, int]  # tenant, execution, run, attempt


class Worker:
    """One worker.  `run` until `stop` or `on_declared_dead`; it can be run once."""

    def __init__(
        self,
        log: Log,
        storage: Storage,
        registry: Registry,
        *,
        instance_id: str,
        secrets: Secrets,
        settings: WorkerSettings,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        tracing: Tracing,
        cipher: Cipher | None = None,
        platforms: Platforms | None = None,
        on_problem: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`instance_id` names it to executors and to the log; `on_problem` gets sentences for the server's log;
        `cipher` reads the values of SECRETs; `platforms` is what stands around flows, None where nothing does.
        """
        self._log = log
        self._storage = storage
        self._secrets = secrets
        self._settings = settings
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._tracing = tracing
        self._cipher = cipher
        self._platforms = platforms
        self._on_problem = on_problem
        self._instance_id = instance_id
        self._group = "worker" if settings.group is None else f"worker-{settings.group}"
        self._registry = registry
        self._triggers: TriggerRuns | None = None
        self._preparation = Preparation(registry, recursive_rendering=settings.recursive_rendering)
        self._reports = Reports(instance_id)
        self._base_variables = settings.base_variables()
        self._buffers: dict[Partition, deque[Waiting]] = {}
        self._paused: set[Partition] = set()
        self.draining = False  # in maintenance nothing new is begun (MM-01)
        self._attempts: dict[_RunKey, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._kills = Kills()
        self._busy = 0
        self._doubtful: list[RunTask] = []
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._consuming = asyncio.Event()
        self._grace = timedelta(0)
        self._dead = False
        self._has_abandoned = False
        self._defect: BaseException | None = None  # why it cannot go on
        self._tools: Tools | None = None
        self._directories: Directories | None = None
        self._hears_controls = asyncio.Event()
        worker_group = settings.group or ""
        self._pending_gauge = metrics.gauge("worker.job.pending", worker_group)
        self._job_gauge = metrics.gauge("worker.job.running", worker_group)
        self._run_gauge = metrics.gauge("worker.running.count", worker_group)
        metrics.gauge("worker.job.thread", worker_group).set(settings.threads)

    # Its life

    @property
    def running(self) -> int:
        """Attempts and evaluations that run now, without inline ones."""
        return self._busy

    @property
    def pending(self) -> int:
        """Jobs that were read and wait for a slot."""
        return sum(len(buffer) for buffer in self._buffers.values())

    @property
    def jobs(self) -> Sequence[RunTask]:
        """The attempts that run now, without inline ones; for diagnostics."""
        return [attempt.job for attempt in self._attempts.values()]

    @property
    def is_consuming(self) -> bool:
        """Whether it is a member of its group; for readiness."""
        return self._consuming.is_set()

    def properties(self) -> dict[str, str]:
        """What its heartbeats say about it."""
        said = {"threads": str(self._settings.threads), "running": str(self.running)}
        if self._settings.group is not None:
            said["workerGroup"] = self._settings.group
        return said

    async def run(self) -> None:
        """Work until stopped; then wait for what runs, as long as `stop` allowed.

        Raises whatever ended the writing of reports or the reading of kills: a worker that cannot do one of these
        must not look alive.
        """
        outbox = Outbox(self._log, on_too_large=self._too_large)
        self._tools = Tools(
            storage=self._storage,
            secrets=self._secrets,
            settings=self._settings,
            clock=self._clock,
            random=self._random,
            reports=self._reports,
            preparation=self._preparation,
            outbox=outbox,
            tracing=self._tracing,
            base_variables=self._base_variables,
            cipher=self._cipher,
            platforms=self._platforms,
        )
        self._triggers = TriggerRuns(
            self, self._registry, self._tools, worker_id=self._instance_id, on_problem=self._on_problem
        )
        directories = self._directories = Directories(self, self._tools, worker_id=self._instance_id)
        writing = asyncio.create_task(outbox.run(), name="worker-outbox")
        controls = asyncio.create_task(self._follow_controls(), name="worker-controls")
        watching = asyncio.create_task(directories.watch(), name="worker-directories")
        for task in (writing, controls, watching):
            task.add_done_callback(self._broke)
        try:
            # A directory's jobs come as controls: nothing may open one before those are listened to.
            await first_of(self._hears_controls, self._stopping)
            await self._consume()
            if self._defect is not None:
                raise self._defect
            await self._wind_up()
            if not self._dead:
                await within(outbox.flushed(), _FLUSH, self._clock)
        finally:
            outbox.abort()
            for task in (writing, controls, watching, *self._tasks):
                task.cancel()
            await asyncio.gather(writing, controls, watching, *self._tasks, return_exceptions=True)
            await directories.remove_all()
            self._ended.set()

    def _broke(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._stopping.is_set():
            self._defect = error
            self._stopping.set()

    @property
    def has_abandoned(self) -> bool:
        """Whether it ended attempts unreported, because the grace period was over."""
        return self._has_abandoned

    async def stop(self, grace: timedelta) -> None:
        """Take no more jobs, give running ones `grace` to end, then end them unreported, and return.

        They are handed out again once the worker is known to be gone.  A second call waits for the first.
        """
        if not self._stopping.is_set():
            self._grace = grace
            self._stopping.set()
        await self._ended.wait()

    def on_declared_dead(self) -> None:
        """To be called when other servers took this one for dead: its runs are handed out again, so it ends at once."""
        self._dead = True
        self._grace = timedelta(0)
        if self._triggers is not None:
            self._triggers.stop_all()  # before the outbox forgets events that a source would take for received
        if self._tools is not None:
            self._tools.outbox.abort()
        self._stopping.set()

    async def _wind_up(self) -> None:
        directories = self._needed_directories()
        triggers = self._needed_triggers()
        triggers.hand_back(evaluations=False)
        if (self._attempts or len(directories) or len(triggers)) and self._grace > timedelta(0):
            await within(self._attempts_ended(), self._grace, self._clock)
        self._has_abandoned = bool(self._attempts)
        for attempt in list(self._attempts.values()):
            attempt.abandon()
        triggers.hand_back(evaluations=True)
        if not self._dead:
            directories.lose_all()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)

    async def _attempts_ended(self) -> None:
        directories = self._needed_directories()
        while self._tasks or directories.are_busy:
            await (asyncio.wait(self._tasks) if self._tasks else directories.quiet())

    # Kills

    async def _follow_controls(self) -> None:
        places: dict[
            int, int
        ] = {}  # of the next record of each partition: an interruption must not skip a kill
        while True:
            try:
                places = places or dict(await self._log.end_offsets(CONTROLS))
                self._hears_controls.set()
                reader = await self._log.reader(CONTROLS, places)
                try:
                    while True:
                        for record in await reader.poll(maximum=1_000, timeout=_POLL):
                            places[record.partition] = record.offset + 1
                            self._control(record)
                finally:
                    await reader.close()
            except LogUnavailable as error:
                self._on_problem(f"controls cannot be read: {error.message}")
                await self._clock.sleep(_RETRY)

    def _control(self, record: Record) -> None:
        try:
            control = CONTROL_DECODER.decode(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._on_problem(f"the record {record.partition}/{record.offset} of {CONTROLS} is no control")
            return
        match control:
            case KillRun():
                self._kill(control)
                self._needed_directories().kill(control)
            case RunInDirectory():
                self._needed_directories().run(control)
            case CloseDirectory():
                self._needed_directories().close(control)
            case StopTrigger():
                self._needed_triggers().control(control)

    def _kill(self, kill: KillRun) -> None:
        self._kills.remember(kill)
        for attempt in list(named_by(kill, self._attempts.values())):
            attempt.kill()

    # Jobs

    async def _consume(self) -> None:
        while not self._stopping.is_set():
            try:
                consumer = await self._log.consumer(
                    group=self._group, topics=[self._settings.topic], instance=self._instance_id
                )
                try:
                    self._disown()
                    self._consuming.set()
                    await self._consume_with(consumer)
                finally:
                    self._consuming.clear()
                    self._forget_waiting()
                    await consumer.close()
            except (Fenced, LogUnavailable) as error:
                self._on_problem(f"jobs cannot be read: {error.message}")
                if not self._stopping.is_set():
                    await self._clock.sleep(_RETRY)

    def _disown(self) -> None:
        """Give up the attempts whose start may have been written although the log did not say so.

        They never ran.  Where the start was not written, or another worker took the job, executors ignore this.
        """
        now = self._clock.now()
        lost = [
            Message(
                topic=COMMANDS,
                key=str(ExecutionKey(job.tenant_id, job.execution_id)),
                value=encode(
                    LoseWorker(at=now, run_id=job.run_id, attempt=job.attempt, worker_id=self._instance_id)
                ),
            )
            for job in self._doubtful
        ]
        self._doubtful.clear()
        lost += self._needed_triggers().disowned()
        if lost:
            self._needed().outbox.put(lost, at_once=True)

    def _forget_waiting(self, partitions: Sequence[Partition] | None = None) -> None:
        for partition in list(self._buffers) if partitions is None else partitions:
            for waiting in self._buffers.pop(partition, ()):
                if waiting.evaluation is not None:
                    waiting.evaluation.cancel()
            self._paused.discard(partition)

    async def _consume_with(self, consumer: Consumer) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                timeout = _POLL_WHILE_BLOCKED if self._buffers else _POLL
                poll = asyncio.ensure_future(consumer.poll(maximum=self._settings.batch, timeout=timeout))
                await asyncio.wait({poll, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not poll.done():  # what it brings is not committed, so nothing is lost
                    poll.cancel()
                    await asyncio.gather(poll, return_exceptions=True)
                    return
                polled = poll.result()
                if polled.revoked:
                    self._forget_waiting(polled.revoked)
                for record in polled.records:
                    place = Partition(record.topic, record.partition)
                    buffer = self._buffers.get(place)
                    if buffer is None:
                        buffer = self._buffers[place] = deque()
                    waiting = Waiting(record)
                    await self._prepare(waiting)
                    buffer.append(waiting)
                if self._buffers:
                    await self._dispatch(consumer)
        finally:
            stopping.cancel()

    async def _prepare(self, waiting: Waiting) -> None:
        """Decode a record, once, and have its task validated."""
        try:
            job = waiting.job = JOB_DECODER.decode(waiting.record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            waiting.unreadable = f"not a job: {error}"
            return
        if isinstance(job, RunTask):
            waiting.prepared = self._preparation.known(job)
            if waiting.prepared is None:
                try:
                    waiting.prepared = await self._preparation.task(job)
                except FlowtideError as error:
                    waiting.problem = error

    async def _dispatch(self, consumer: Consumer) -> None:
        """Run what can run: inline tasks now, others after the commit; the rest waits in paused partitions."""
        batch = Batch()
        for partition in list(self._buffers):
            buffer = self._buffers[partition]
            while buffer and not self.draining and self._taken(buffer[0], batch):
                record = buffer.popleft().record
                batch.positions[partition] = record.offset + 1
            if not buffer:
                del self._buffers[partition]
        if batch.positions:
            try:
                await self._commit(consumer, batch)
            except BaseException as error:
                if isinstance(error, LogUnavailable):
                    self._doubtful += [attempt.job for attempt in batch.attempts]
                    self._doubtful += [job for job, _ in batch.oversized]
                # Nothing is known to be written: what was to start does not start, and is delivered again.
                self._busy -= len(batch.attempts)
                for attempt in batch.attempts:
                    self._attempts.pop(_key_of(attempt.job), None)
                    self._needed_directories().forget(attempt.job)
                self._needed_triggers().forget(batch.triggers, doubtful=isinstance(error, LogUnavailable))
                self._show_load()
                raise
            for attempt in batch.attempts:
                self._launch(attempt)
            for job, prepared in batch.oversized:
                self._launch_oversized(job, prepared)
            for run in batch.triggers:
                self.spawn(self._needed_triggers().run(run), f"trigger {run.job.job_id}")
        self._balance(consumer)

    async def _commit(self, consumer: Consumer, batch: Batch) -> None:
        try:
            await consumer.commit(positions=batch.positions, messages=[*batch.messages, *batch.finished])
        except MessageTooLarge:
            # One line or output is beyond the log's limit: the outbox finds out which, and says so in its place.
            await consumer.commit(positions=batch.positions, messages=batch.messages)
            self._needed().outbox.put(batch.finished, at_once=True)

    def _balance(self, consumer: Consumer) -> None:
        blocked = set(self._buffers)
        if pause := blocked - self._paused:
            consumer.pause(sorted(pause))
        if resume := self._paused - blocked:
            consumer.resume(sorted(resume))
        self._paused = blocked
        self._show_load()

    def _taken(self, waiting: Waiting, batch: Batch) -> bool:
        """Handle a record; False when it has to wait for a slot."""
        job = waiting.job
        if job is None:
            reason = waiting.unreadable or "not a job"
            record = waiting.record
            self._on_problem(f"the record {record.partition}/{record.offset} of {record.topic} is {reason}")
            batch.finished.append(put_aside(record, reason=reason, group=self._group, at=self._clock.now()))
            return True
        if isinstance(job, Evaluate):
            return self._taken_evaluation(waiting, job, batch)
        if isinstance(job, EvaluateTrigger | ListenTrigger):
            return self._taken_trigger(job, batch)
        if self._kills.names(job):
            batch.messages.append(self._reports.ended(job, self._clock.now(), State.KILLED, {}, None))
            return True
        if _key_of(job) in self._attempts:
            batch.messages.append(self._reports.started(job, self._clock.now()))
            return True
        prepared = waiting.prepared
        if prepared is None:
            self._refuse(job, waiting.problem or FlowtideError("the task could not be read"), batch)
            return True
        if (
            prepared.inline
            and not mentions_offloaded(job.variables)
            and not mentions_encrypted(job.variables)
        ):
            self._run_inline(job, prepared, batch)
            return True
        if self._busy >= self._settings.threads:
            return False
        self._busy += 1
        now = self._clock.now()
        batch.messages.append(self._reports.started(job, now))
        if isinstance(prepared.task, DirectoryBlock):
            attempt = self._needed_directories().opening(job, prepared)
        else:
            attempt = Attempt(job, prepared, self._needed(), on_free=self._free)
        # Known from now on, so that a second delivery in the same batch and a kill during the commit find it.
        self._attempts[_key_of(job)] = attempt
        batch.attempts.append(attempt)
        return True

    def _refuse(self, job: RunTask, error: FlowtideError, batch: Batch) -> None:
        """Report a job that this worker cannot run, with a line that says why."""
        prepared = PreparedTask(task=_NO_TASK, document={}, type_name="", inline=True, severity=0)
        context = self._inline_context(job, prepared, {})
        context.error("{}", error.message)
        now = self._clock.now()
        batch.messages.append(self._reports.started(job, now))
        batch.finished += context.messages
        batch.finished.append(self._reports.ended(job, now, State.FAILED, {}, error.message))

    # Inline tasks

    def _run_inline(self, job: RunTask, prepared: PreparedTask, batch: Batch) -> None:
        now = self._clock.now
        labels = (job.tenant_id, job.flow.namespace, job.flow.id, prepared.type_name)
        started = now()
        self._count_start(job, labels, started)
        context: TaskContext | None = None
        state, outputs, error = State.SUCCESS, {}, None
        try:
            context = self._inline_context(job, prepared, variables_of(job, self._base_variables))
            outputs = checked_outputs(prepared.task.run(context))
        except TaskWarning as warning:
            state, outputs = State.WARNING, dict(warning.outputs)
        except Exception as failure:
            state, error = State.FAILED, described(failure, prepared.document)
            outputs = dict(getattr(failure, "outputs", {}))
            if context is not None:
                context.error("{}", error)
        ended = now()
        try:
            message = self._reports.ended(job, ended, state, outputs, error)
        except (TypeError, ValueError, OverflowError, RecursionError) as failure:
            state, error = State.FAILED, f"the outputs cannot be written as JSON: {failure}"
            message = self._reports.ended(job, ended, state, {}, error)
        batch.messages.append(self._reports.started(job, started))
        if len(message.value or b"") > self._settings.outputs_limit_bytes:
            # Storing takes time: only this start is reported now, and the run is done again where that may wait.
            batch.oversized.append((job, prepared))
            return
        if context is not None:
            batch.finished += context.messages
        batch.finished.append(message)
        self._count_end(labels, state, (ended - started).total_seconds())

    def _inline_context(self, job: RunTask, prepared: PreparedTask, variables: dict[str, Any]) -> TaskContext:
        return TaskContext(
            job=job,
            prepared=prepared,
            variables=variables,
            storage=self._storage,
            settings=self._settings,
            now=self._clock.now,
            random=self._random,
        )

    # Attempts

    def _launch(self, attempt: Attempt) -> None:
        job = attempt.job
        task = asyncio.create_task(self._attempt(attempt), name=f"run {job.run_id} {job.attempt}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _launch_oversized(self, job: RunTask, prepared: PreparedTask) -> None:
        self._busy += 1  # beyond the slots for the moment that storing takes
        attempt = self._attempts[_key_of(job)] = Attempt(job, prepared, self._needed(), on_free=self._free)
        self._launch(attempt)

    async def _attempt(self, attempt: Attempt) -> None:
        job, prepared = attempt.job, attempt.prepared
        labels = (job.tenant_id, job.flow.namespace, job.flow.id, prepared.type_name)
        started = self._clock.now()
        self._count_start(job, labels, started)
        outcome: Outcome | None = None
        try:
            outcome = await attempt.run()
        except Exception as error:  # ours, not the task's: nothing was reported, and somebody waits for it
            self._on_problem(f"the attempt {job.attempt} of the task run {job.run_id} broke: {error!r}")
            text = f"the worker failed while it ran this task: {type(error).__name__}"
            message = self._reports.ended(job, self._clock.now(), State.FAILED, {}, text)
            self._needed().outbox.put((message,), at_once=True)
        finally:
            self._attempts.pop(_key_of(job), None)
        if outcome is not None:
            self._count_end(labels, outcome.state, (self._clock.now() - started).total_seconds())

    def _free(self) -> None:
        self._busy -= 1
        self._show_load()
        self._needed_directories().pump()

    # What its directories ask of it (`Host`)

    def take_slot(self) -> bool:
        """See Host."""
        if self._busy >= self._settings.threads:
            return False
        self._busy += 1
        self._show_load()
        return True

    def free_slot(self) -> None:
        """See Host."""
        self._free()

    async def prepared(self, job: RunTask) -> PreparedTask:
        """See Host."""
        return self._preparation.known(job) or await self._preparation.task(job)

    def is_killed(self, job: RunTask) -> bool:
        """See Host."""
        return self._kills.names(job)

    def refuse(self, job: RunTask, error: FlowtideError) -> None:
        """See Host."""
        batch = Batch()
        self._refuse(job, error, batch)
        self._needed().outbox.put([*batch.messages, *batch.finished], at_once=True)

    def start(self, attempt: Attempt) -> None:
        """See Host."""
        job = attempt.job
        self._needed().outbox.put((self._reports.started(job, self._clock.now()),), at_once=True)
        self._attempts[_key_of(job)] = attempt
        self._launch(attempt)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """See Host."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Triggers

    def _taken_trigger(self, job: TriggerJob, batch: Batch) -> bool:
        """Report that it runs; it starts after the commit.  False when it has to wait for a slot."""
        taken = self._needed_triggers().take(job)
        if taken is None:
            return False
        started, run = taken
        batch.messages.append(started)
        if run is not None:
            batch.triggers.append(run)
        return True

    # Expressions of flowable tasks

    def _taken_evaluation(self, waiting: Waiting, job: Evaluate, batch: Batch) -> bool:
        """Evaluate before the commit, so that an answer is never lost; its partition waits meanwhile."""
        if waiting.evaluation is None:
            if self._busy >= self._settings.threads:
                return False
            self._busy += 1
            waiting.evaluation = asyncio.create_task(evaluate_job(job, self._needed()))
            waiting.evaluation.add_done_callback(lambda _: self._free())
            return False
        if not waiting.evaluation.done():
            return False
        if waiting.evaluation.cancelled() or waiting.evaluation.exception() is not None:
            reason = "cancelled" if waiting.evaluation.cancelled() else repr(waiting.evaluation.exception())
            self._on_problem(f"the evaluation for the task run {job.run_id} broke: {reason}")
            error = "the worker failed while it evaluated the expressions"
            batch.finished.append(self._reports.evaluated(job, self._clock.now(), {}, error))
            return True
        batch.finished.append(waiting.evaluation.result())
        return True

    # Counting

    def _count_start(self, job: RunTask, labels: tuple[str, ...], at: Any) -> None:
        metrics = self._metrics
        metrics.counter("worker.started.count", *labels).add()
        metrics.timer("worker.queued.duration", *labels).observe(max((at - job.at).total_seconds(), 0.0))
        if job.attempt > 0:
            metrics.counter("worker.retried.count", *labels).add()

    def _count_end(self, labels: tuple[str, ...], state: State, seconds: float) -> None:
        metrics = self._metrics
        metrics.counter("worker.ended.count", *labels, state.value).add()
        metrics.timer("worker.ended.duration", *labels, state.value).observe(seconds)

    def _show_load(self) -> None:
        self._pending_gauge.set(self.pending)
        self._job_gauge.set(self._busy + (0 if self._triggers is None else self._triggers.listening))
        self._run_gauge.set(len(self._attempts))

    # What the log would not take

    def _too_large(self, message: Message) -> Message | None:
        """In place of an end report beyond the log's limit, one that says so; lines and metrics are dropped."""
        self._on_problem(f"a record for {message.topic} of {len(message.value or b'')} bytes is too large")
        return smaller(message)

    def _needed_triggers(self) -> TriggerRuns:
        assert self._triggers is not None  # as above
        return self._triggers

    def _needed_directories(self) -> Directories:
        assert self._directories is not None  # as above
        return self._directories

    def _needed(self) -> Tools:
        assert self._tools is not None  # set before anything is consumed
        return self._tools


def _key_of(job: RunTask) -> _RunKey:
    return (job.tenant_id, job.execution_id, job.run_id, job.attempt)


_NO_TASK: Final[Any] = RunnableTask.model_construct(id="unknown", type="unknown")
"""Stands for the task of a job that could not be read, so that its line and its end can be written like any other's."""
