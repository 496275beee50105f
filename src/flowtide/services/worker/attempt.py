"""One attempt of a task run that is not inline: resolved, run as the task asks, ended early when it must be, reported.

An attempt is over for people when it is reported; its slot is free when whatever it started has really ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

from flowtide.errors import FlowtideError, TaskFailed, TaskWarning
from flowtide.log.port import Message
from flowtide.model.durations import format_duration, parse_duration
from flowtide.model.encrypted import Cipher
from flowtide.model.jobs import RunTask
from flowtide.model.states import State
from flowtide.model.task import TaskTemplate
from flowtide.secrets import Mask, Secrets
from flowtide.services.platform import Platforms
from flowtide.services.platform.files import ReadableFiles
from flowtide.services.worker.context import TaskContext, ancestors_of
from flowtide.services.worker.encrypted import mentions_encrypted, open_encrypted
from flowtide.services.worker.functions import input_output_functions
from flowtide.services.worker.outbox import Outbox
from flowtide.services.worker.outputs import (
    checked_outputs,
    mentions_offloaded,
    resolve_outputs,
    store_outputs,
)
from flowtide.services.worker.preparation import Preparation, PreparedTask, variables_of
from flowtide.services.worker.reports import Reports, described
from flowtide.services.worker.settings import Clock, WorkerSettings
from flowtide.services.worker.task_cache import TaskCacheEntry
from flowtide.storage import ExecutionFolder, Storage
from flowtide.telemetry import Tracing
from flowtide.telemetry.traces import WORKER

_PATIENCE_SECONDS: Final = (
    1.0  # how long a cancelled task may take before it is reported without having ended
)
EarlyEnd = Literal["killed", "abandoned"]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What all attempts of a worker share."""

    storage: Storage
    secrets: Secrets
    settings: WorkerSettings
    clock: Clock
    random: Random
    reports: Reports
    preparation: Preparation
    outbox: Outbox
    tracing: Tracing
    base_variables: dict[str, Any]
    cipher: Cipher | None = None  # None: no key is configured
    platforms: Platforms | None = None  # None: nothing stands around the worker


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended."""

    state: State
    outputs: dict[str, Any]
    error: str | None = None


class Attempt:
    """One attempt.  `run` once; `kill` and `abandon` at any time, from the event loop's thread."""

    def __init__(
        self,
        job: RunTask,
        prepared: PreparedTask,
        tools: Tools,
        *,
        on_free: Callable[[], None],
        directory: Path | None = None,
    ) -> None:
        """`on_free` is called when all that it started has ended; `directory` stays, None: one of its own."""
        self.job = job
        self.prepared = prepared
        self._tools = tools
        self._on_free = on_free
        self._directory = directory
        cache = prepared.task.task_cache
        self._cache = cache if cache is not None and cache.enabled else None
        self._early: EarlyEnd | None = None
        self._signal = asyncio.Event()
        self._work: asyncio.Future[Any] | None = None
        self._mask = Mask()

    def kill(self) -> None:
        """End it as KILLED."""
        self._end_early("killed")

    def abandon(self) -> None:
        """End it without a report, because the worker stops; it is handed out again."""
        self._end_early("abandoned")

    def _end_early(self, reason: EarlyEnd) -> None:
        if self._early != "abandoned":
            self._early = reason
        self._signal.set()

    async def run(self) -> Outcome | None:
        """Run to the end and report; gives how it ended, None when it was abandoned."""
        try:
            outcome, context = await self._outcome()
        finally:
            if self._work is None or self._work.done():
                self._on_free()
            else:
                self._work.add_done_callback(lambda _: self._on_free())
        if self._early == "abandoned":
            return None
        message, outcome = await self._message(outcome, context)
        if context is not None:
            context.close()
        self._tools.outbox.put((message,), at_once=True)
        return outcome

    async def _outcome(self) -> tuple[Outcome, TaskContext | None]:
        context: TaskContext | None = None
        try:
            context = self._context(variables_of(self.job, self._tools.base_variables))
            outcome = await self._in_context(context)
        except Exception as error:
            outcome = self._failure(error, context)
        finally:
            if context is not None:
                with contextlib.suppress(OSError):
                    await context.leave()
        return outcome, context

    def _context(self, variables: dict[str, Any]) -> TaskContext:
        tools, job = self._tools, self.job
        holder: list[TaskContext] = []
        files: ReadableFiles | None = None
        ancestors = ancestors_of(job, variables)
        if tools.platforms is not None:
            files = tools.platforms.readable_files(
                job.tenant_id,
                self._folder(),
                ancestors,
                plugin_type=self.prepared.type_name,
                working_directory=lambda: holder[0].made_directory if holder else None,
            )
        functions = input_output_functions(
            tenant_id=job.tenant_id,
            folder=self._folder(),
            ancestors=ancestors,
            storage=tools.storage.blocking,
            secrets=tools.secrets,
            on_secret=self._mask.add,
            platforms=tools.platforms,
            files=files,
        )
        context = TaskContext(
            job=job,
            prepared=self.prepared,
            variables=variables,
            storage=tools.storage,
            settings=tools.settings,
            now=tools.clock.now,
            random=tools.random,
            outbox=tools.outbox,
            mask=self._mask,
            functions=functions,
            platform=None
            if tools.platforms is None
            else tools.platforms.of(job.tenant_id, job.flow.namespace),
            files=files,
            cipher=tools.cipher,
        )
        holder.append(context)
        if self._directory is not None:
            context.keep_directory(self._directory)
        return context

    def _folder(self) -> ExecutionFolder:
        return ExecutionFolder(self.job.flow.namespace, self.job.flow.id, self.job.execution_id)

    async def _in_context(self, context: TaskContext) -> Outcome:
        tools, job = self._tools, self.job
        if mentions_offloaded(job.variables):
            await resolve_outputs(
                context.variables,
                tenant_id=job.tenant_id,
                folder=context.folder,
                ancestors=ancestors_of(job, context.variables),
                storage=tools.storage,
            )
        if mentions_encrypted(job.variables) or mentions_offloaded(job.variables):
            open_encrypted(context.variables, tools.cipher, tenant_id=job.tenant_id, masks=(self._mask,))
        await context.enter(asyncio.get_running_loop())
        timeout = await self._timeout(context)
        if isinstance(self.prepared.task, TaskTemplate):
            text = str(await context.evaluate(self.prepared.task.spec, typed=False))
            self.prepared = await tools.preparation.templated(text, self.prepared)
            context.stand_in(self.prepared)
            timeout = timeout or await self._timeout(context)
        cache, entry = self._cache, None
        if cache is not None:
            entry = TaskCacheEntry(context, self.prepared, tools.storage)
            cached = await entry.find(cache.ttl)
            if cached is not None:
                return Outcome(state=cached.state, outputs=cached.outputs)
        if self._early is not None:
            return Outcome(state=State.KILLED, outputs={})
        attributes = {
            "flow.namespace": job.flow.namespace,
            "flow.id": job.flow.id,
            "execution.id": job.execution_id,
            "taskrun.id": job.run_id,
            "task.id": job.task_id,
        }
        name = f"{self.prepared.type_name.rsplit('.', 1)[-1]} {job.task_id}"
        with tools.tracing.span(name, category=WORKER, traceparent=job.trace_parent, attributes=attributes):
            outcome = await self._supervised(context, timeout)
        if entry is not None:
            await entry.keep(outcome.state, outcome.outputs)
        return outcome

    async def _timeout(self, context: TaskContext) -> timedelta | None:
        timeout = self.prepared.task.timeout
        if timeout is None or isinstance(timeout, timedelta):
            return timeout
        text = str(await context.evaluate(timeout, typed=False))
        try:
            return parse_duration(text)
        except ValueError as error:
            raise TaskFailed(f"property `timeout`: {error}") from None

    async def _supervised(self, context: TaskContext, timeout: timedelta | None) -> Outcome:
        """Run the task until it ends, its time is over, or somebody ends it."""
        work = self._work = self._started(context)
        waiters: set[asyncio.Future[Any]] = {work, asyncio.ensure_future(self._signal.wait())}
        if timeout is not None:
            waiters.add(asyncio.ensure_future(self._tools.clock.sleep(timeout)))
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters - {work}:
                waiter.cancel()
            if not work.done():
                await self._cancelled(context, work)
        if self._early is not None and (work.cancelled() or not work.done() or work.exception() is not None):
            return Outcome(state=State.KILLED, outputs={})
        if not work.done() or work.cancelled():
            if timeout is None:
                raise TaskFailed("the task cancelled itself")
            raise TaskFailed(f"the attempt took longer than its timeout of {format_duration(timeout)}")
        try:
            return Outcome(state=State.SUCCESS, outputs=checked_outputs(work.result()))
        except TaskWarning as warning:
            context.warn("{}", warning.message)
            return Outcome(state=State.WARNING, outputs=checked_outputs(warning.outputs))

    async def _cancelled(self, context: TaskContext, work: asyncio.Future[Any]) -> None:
        await asyncio.to_thread(context.end_early)
        if isinstance(work, asyncio.Task):
            work.cancel()
        await asyncio.wait({work}, timeout=_PATIENCE_SECONDS)

    def _started(self, context: TaskContext) -> asyncio.Future[Any]:
        task = self.prepared.task
        if task.mode == "async":
            return asyncio.ensure_future(_contained(lambda: self._call(context)))
        return in_thread(lambda: self._call(context), name=f"run-{self.job.run_id[:8]}")

    def _call(self, context: TaskContext) -> Any:
        return self.prepared.task.run(context)

    def _failure(self, error: BaseException, context: TaskContext | None) -> Outcome:
        text = self._mask.mask(described(error, self.prepared.document))
        outputs: dict[str, Any] = {}
        if isinstance(error, TaskFailed):
            with contextlib.suppress(TaskFailed):
                outputs = checked_outputs(error.outputs)
        if context is not None and self._early is None:
            context.error("{}", text)
            if not isinstance(error, FlowtideError):
                context.trace("{}", "".join(traceback.format_exception(error)))
        return Outcome(state=State.FAILED, outputs=outputs, error=text)

    async def _message(self, outcome: Outcome, context: TaskContext | None) -> tuple[Message, Outcome]:
        """The end report; outputs beyond the limit are stored first."""
        tools, job = self._tools, self.job
        try:
            message = self._report(outcome)
            is_large = len(message.value or b"") > tools.settings.outputs_limit_bytes
            if is_large or (outcome.outputs and self._stores_outputs()):
                stored = await store_outputs(job, outcome.outputs, tools.storage)
                message = self._report(Outcome(state=outcome.state, outputs=stored, error=outcome.error))
        except FlowtideError as error:
            outcome = self._failure(TaskFailed(f"the outputs could not be stored: {error.message}"), context)
            return self._report(outcome), outcome
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            outcome = self._failure(TaskFailed(f"the outputs cannot be written as JSON: {error}"), context)
            return self._report(outcome), outcome
        return message, outcome

    def _stores_outputs(self) -> bool:
        platforms, job = self._tools.platforms, self.job
        return platforms is not None and platforms.stores_outputs(job.tenant_id, job.flow.namespace)

    def _report(self, outcome: Outcome) -> Message:
        now = self._tools.clock.now()
        return self._tools.reports.ended(self.job, now, outcome.state, outcome.outputs, outcome.error)


async def _contained(call: Callable[[], Any]) -> Any:
    """Keep what would end the whole server within the task that raised it."""
    try:
        # Not called before: what is cancelled at once would be a coroutine that nobody awaited.
        return await call()
    except (SystemExit, KeyboardInterrupt) as error:
        raise TaskFailed(f"the task tried to end the worker: {type(error).__name__}") from error


def in_thread(call: Callable[[], Any], *, name: str) -> asyncio.Future[Any]:
    """Run a blocking call in a thread of its own, which does not keep the process alive when it never returns."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            future.exception()  # an attempt that was reported already looks at it no more

    def run() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = call()
        except Exception as error:
            failure = RuntimeError(str(error)) if isinstance(error, StopIteration) else error
        except BaseException as error:
            failure = TaskFailed(f"the task tried to end the worker: {type(error).__name__}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
