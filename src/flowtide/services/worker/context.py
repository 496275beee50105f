"""What a task sees while it runs: rendering, its log, its files, its metrics.

One context belongs to one attempt; log lines and metrics leave it as messages, in the order in which they were made.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from copy import copy
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, TypeVar

from flowtide.errors import FileMissing, TaskFailed
from flowtide.expressions import Scope, render_value
from flowtide.log.port import Message
from flowtide.model.encrypted import NO_KEY, Cipher
from flowtide.model.entries import Level, LogEntry, MetricEntry
from flowtide.model.jobs import RunTask
from flowtide.model.outbound import OPEN, OutboundRules
from flowtide.model.platform import Platform
from flowtide.model.records import encode
from flowtide.model.task import TaskLogger
from flowtide.secrets import Mask, StreamMask
from flowtide.services.platform.files import ReadableFiles
from flowtide.services.worker.outbox import Outbox
from flowtide.services.worker.preparation import PreparedTask
from flowtide.services.worker.settings import WorkerSettings
from flowtide.services.worker.templates import is_cheap, render_typed
from flowtide.storage import (
    ExecutionFolder,
    Storage,
    check_readable,
    execution_files,
    task_cache_file,
    task_run_file,
)

_Result = TypeVar("_Result")
_LONGEST_LINE_CHARACTERS: Final = 64 * 1024
_MASK_FREE: Final = Mask()  # what inline tasks have: without functions they never see a secret
_MOST_METRICS: Final = 10_000
_SUBFLOW_OUTPUTS: Final = frozenset({"executionId", "outputs", "state"})
_DEEPEST_LOOP: Final = 3  # loops in loops whose subflows are looked for in the outputs


class TaskContext(TaskLogger):
    """The context of one attempt, and its logger.

    Until `outbox` is given (inline tasks never have one), messages gather in `messages`.
    """

    __slots__ = (
        "_callbacks",
        "_cipher",
        "_closed",
        "_directory",
        "_ending",
        "_file",
        "_files",
        "_keeps_directory",
        "_key",
        "_loop",
        "_metric_count",
        "_outbox",
        "_platform",
        "_prepared",
        "_scope",
        "_settings",
        "_storage",
        "attempt",
        "execution_id",
        "flow_id",
        "folder",
        "job",
        "logger",
        "mask",
        "messages",
        "namespace",
        "now",
        "task_id",
        "task_run_id",
        "tenant_id",
        "thread",
        "variables",
    )

    def __init__(
        self,
        *,
        job: RunTask,
        prepared: PreparedTask,
        variables: dict[str, Any],
        storage: Storage,
        settings: WorkerSettings,
        now: Callable[[], datetime],
        random: Random,
        outbox: Outbox | None = None,
        mask: Mask = _MASK_FREE,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        platform: Platform | None = None,
        files: ReadableFiles | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        self._platform = platform
        self._cipher = cipher
        self._files = files  # None: stored files of this execution only
        self.job = job
        self.tenant_id = job.tenant_id
        self.namespace = job.flow.namespace
        self.flow_id = job.flow.id
        self.execution_id = job.execution_id
        self.task_run_id = job.run_id
        self.task_id = job.task_id
        self.attempt = job.attempt
        self.variables = variables
        self.now = now
        self.mask = mask
        self.messages: list[Message] = []
        self.logger: TaskLogger = self
        self.thread: str | None = None
        self._prepared = prepared
        self._storage = storage
        self._settings = settings
        self._outbox = outbox
        self._key = f"{job.tenant_id}/{job.execution_id}"
        self._directory: Path | None = None
        self._keeps_directory = False
        self._callbacks: list[Callable[[], object]] = []
        self._metric_count = 0
        self._closed = False
        self._ending = False
        self._file: _LogFile | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.folder = ExecutionFolder(self.namespace, self.flow_id, self.execution_id)
        if functions is None:
            self._scope = Scope(variables, now=now, random=random, limits=settings.limits)
        else:
            self._scope = Scope(
                variables,
                functions=functions,
                now=now,
                random=random,
                recursive=settings.recursive_rendering,
                on_secret=mask.add,
                limits=settings.limits,
            )

    # Rendering

    def render(self, template: Any) -> str:
        """Render to text; a value that is no text is written as templates write it."""
        if isinstance(template, str):
            text: str = render_value(template, self._scope)
            return text
        rendered = self.render_typed(template)
        shown: str = "" if rendered is None else render_value("{{ value }}", Scope({"value": rendered}))
        return shown

    def render_typed(self, template: Any) -> Any:
        """Render keeping types: a text that is one expression becomes its value."""
        return render_typed(template, self._scope)

    def render_nested(self, value: Any) -> Any:
        """Render every text inside a structure to text."""
        return render_value(value, self._scope)

    def renderer(self) -> Callable[[Any, Mapping[str, Any]], Any]:
        """See RunContext."""
        scope = copy(self._scope)

        def render(template: Any, variables: Mapping[str, Any]) -> Any:
            scope.variables = {**self.variables, **variables}
            return render_typed(template, scope)

        return render

    async def evaluate(self, template: Any, *, typed: bool = True) -> Any:
        """`render_typed` or `render_nested`, in a thread unless the template is cheap."""
        render = self.render_typed if typed else self.render_nested
        if is_cheap(template) and not self._settings.recursive_rendering:
            return render(template)
        return await asyncio.to_thread(render, template)

    def plugin_configuration(self, name: str, *, type_name: str | None = None) -> Any:
        """A configured value of this task's type, or of another; kebab-case and camelCase are the same."""
        values = self._settings.plugin_configurations.get(type_name or self._prepared.type_name, {})
        plain = {key.replace("-", "").lower(): value for key, value in values.items()}
        return plain.get(name.replace("-", "").lower())

    # The log

    def log(self, level: Level, message: str, *arguments: object) -> None:
        """Write a line unless it is below the task's `logLevel`."""
        if level.severity < self._prepared.severity:
            return
        for argument in arguments:
            message = message.replace("{}", str(argument), 1)
        message = self.mask.mask(message)
        if len(message) > _LONGEST_LINE_CHARACTERS:
            cut = len(message) - _LONGEST_LINE_CHARACTERS
            message = f"{message[:_LONGEST_LINE_CHARACTERS]}... ({cut} more characters)"
        if self._file is not None:
            self._file.write(f"{self.now().isoformat()} {level} {message}\n")
            return
        self._entry(level, message)

    def error(self, message: str, *arguments: object) -> None:
        """Write at ERROR."""
        self.log(Level.ERROR, message, *arguments)

    def warn(self, message: str, *arguments: object) -> None:
        """Write at WARN."""
        self.log(Level.WARN, message, *arguments)

    def info(self, message: str, *arguments: object) -> None:
        """Write at INFO."""
        self.log(Level.INFO, message, *arguments)

    def debug(self, message: str, *arguments: object) -> None:
        """Write at DEBUG."""
        self.log(Level.DEBUG, message, *arguments)

    def trace(self, message: str, *arguments: object) -> None:
        """Write at TRACE."""
        self.log(Level.TRACE, message, *arguments)

    async def drain(self) -> None:
        """Wait until there is room for more lines."""
        if self._outbox is not None:
            await self._outbox.drain()

    def add_secret(self, value: str) -> None:
        """Mask `value` in all lines from now on."""
        self.mask.add(value)

    def masked_stream(self) -> StreamMask:
        """For a text that comes in pieces."""
        return StreamMask(self.mask)

    def _entry(self, level: Level, message: str) -> None:
        job = self.job
        entry = LogEntry(
            tenant_id=job.tenant_id,
            namespace=job.flow.namespace,
            flow_id=job.flow.id,
            timestamp=self.now(),
            level=level,
            message=message,
            execution_id=job.execution_id,
            task_id=job.task_id,
            task_run_id=job.run_id,
            attempt_number=job.attempt,
            thread=self.thread,
            execution_kind=job.execution_kind,
        )
        try:
            value = encode(entry)
        except UnicodeEncodeError:  # half a surrogate pair, from a template or a program
            value = encode_text_safely(entry)
        self._put(Message(topic="logs", key=self._key, value=value))

    def _put(self, message: Message) -> None:
        if self._closed:  # a thread that could not be ended writes on after its attempt was reported
            return
        if self._outbox is None:
            self.messages.append(message)
        elif self._loop is not None and _on_loop(self._loop):
            self._outbox.put((message,), at_once=False)
        else:
            self._outbox.put_from_thread((message,))

    # Metrics

    def counter(self, name: str, value: float, /, **tags: str) -> None:
        """Count something."""
        self._measure("counter", name, value, tags)

    def gauge(self, name: str, value: float, /, **tags: str) -> None:
        """Record a level."""
        self._measure("gauge", name, value, tags)

    def timer(self, name: str, duration: timedelta, /, **tags: str) -> None:
        """Record how long something took."""
        self._measure("timer", name, duration.total_seconds(), tags)

    def _measure(
        self, kind: Literal["counter", "timer", "gauge"], name: str, value: float, tags: Mapping[str, Any]
    ) -> None:
        self._metric_count += 1
        if self._metric_count > _MOST_METRICS:
            if self._metric_count == _MOST_METRICS + 1:
                self.warn("More than {} metrics; the rest is dropped", _MOST_METRICS)
            return
        job = self.job
        entry = MetricEntry(
            tenant_id=job.tenant_id,
            namespace=job.flow.namespace,
            flow_id=job.flow.id,
            execution_id=job.execution_id,
            task_id=job.task_id,
            task_run_id=job.run_id,
            name=name,
            type=kind,
            value=value,
            timestamp=self.now(),
            tags={key: self.mask.mask(str(tag)) for key, tag in tags.items()},
            execution_kind=job.execution_kind,
        )
        self._put(Message(topic="metrics", key=self._key, value=encode(entry)))

    @property
    def platform(self) -> Platform:
        """See RunContext.  Raises TaskFailed where nothing stands around the worker."""
        if self._platform is None:
            raise TaskFailed("this worker was started without the platform that the task needs")
        return self._platform

    @property
    def outbound(self) -> OutboundRules:
        """See RunContext."""
        return OPEN if self._platform is None else self._platform.outbound

    # Files

    def define(self, name: str, value: Any) -> None:
        """Add a root variable."""
        self.variables[name] = value

    @property
    def made_directory(self) -> Path | None:
        """The working directory if there is one by now."""
        return self._directory

    def stand_in(self, prepared: PreparedTask) -> None:
        """Run another task in the place of the one that was handed out (TaskTemplate)."""
        self._prepared = prepared

    def keep_directory(self, path: Path | None = None) -> None:
        """Leave the working directory at the end; `path` is one that is there already (FLO-23)."""
        self._keeps_directory = True
        if path is not None:
            self._directory = path
            self.variables.setdefault("workingDir", str(path))

    @property
    def working_directory(self) -> Path:
        """A folder of this attempt, made on first use."""
        if self._directory is None:
            self._directory = _make_directory(self._settings.working_folder)
        return self._directory

    async def put_file(self, path: Path, name: str | None = None) -> str:
        """Store a file of this task run."""
        return await self._store(path, name or path.name)

    async def put_bytes(self, content: bytes, name: str) -> str:
        """Store bytes as a file of this task run."""
        return await self._store(content, name)

    async def _store(self, content: bytes | Path, name: str) -> str:
        uri = task_run_file(self.folder, task_id=self.task_id, run_id=self.task_run_id, name=name)
        await self._storage.put(self.tenant_id, uri, content)
        return uri

    async def get_file(self, uri: str, path: Path) -> None:
        """Fetch a file that this execution may read: stored, of a namespace, or of the host."""
        if self._files is not None:
            await self._files.get(uri, path)
            return
        check_readable(uri, folder=self.folder, ancestors=self._ancestors())
        await self._storage.fetch(self.tenant_id, uri, path)

    async def get_bytes(self, uri: str) -> bytes:
        """Read a file that this execution may read: stored, of a namespace, or of the host."""
        if self._files is not None:
            return await self._files.content(uri)
        check_readable(uri, folder=self.folder, ancestors=self._ancestors())
        return await self._storage.get(self.tenant_id, uri)

    async def file_size(self, uri: str) -> int:
        """The size of a file that this execution may read."""
        if self._files is not None:
            return await self._files.bytes_of(uri)
        check_readable(uri, folder=self.folder, ancestors=self._ancestors())
        return await self._storage.size(self.tenant_id, uri)

    async def delete_file(self, uri: str) -> bool:
        """Remove a stored file that this execution may read."""
        check_readable(uri, folder=self.folder, ancestors=self._ancestors())
        return await self._storage.delete(self.tenant_id, uri)

    async def delete_own_files(self) -> list[str]:
        """Remove all that is stored of this execution."""
        folder = execution_files(self.folder)
        found = sorted(await self._storage.list(self.tenant_id, folder))
        await self._storage.delete(self.tenant_id, folder)
        return found

    async def keep(self, name: str, content: bytes | Path) -> None:
        """See RunContext."""
        await self._storage.put(self.tenant_id, self._kept_uri(name), content)

    async def kept(self, name: str) -> bytes | None:
        """See RunContext."""
        try:
            return await self._storage.get(self.tenant_id, self._kept_uri(name))
        except FileMissing:
            return None

    async def fetch_kept(self, name: str, path: Path) -> bool:
        """See RunContext."""
        try:
            await self._storage.fetch(self.tenant_id, self._kept_uri(name), path)
        except FileMissing:
            return False
        return True

    async def forget_kept(self, name: str) -> None:
        """See RunContext."""
        await self._storage.delete(self.tenant_id, self._kept_uri(name))

    def _kept_uri(self, name: str) -> str:
        return task_cache_file(self.namespace, self.flow_id, task_id=self.task_id, name=name)

    def encrypt(self, text: str, name: str) -> dict[str, Any]:
        """See RunContext."""
        if self._cipher is None:
            raise TaskFailed(f"the output `{name}` is to be encrypted, and on this worker {NO_KEY}")
        if text:
            self.mask.add(text)
        place = f"{self.execution_id}/{self.task_run_id}/{self.attempt}/{name}"
        return self._cipher.encrypt(text, tenant_id=self.tenant_id, place=place)

    def _ancestors(self) -> list[str]:
        return ancestors_of(self.job, self.variables)

    def call(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Run an async method from a thread and wait."""
        if self._loop is None:
            coroutine.close()
            raise TaskFailed("an inline task cannot wait for files")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    # Its end

    def on_kill(self, callback: Callable[[], object]) -> None:
        """Call back when the attempt is to end early; at once when that was said already."""
        self._callbacks.append(callback)
        if self._ending:
            with contextlib.suppress(Exception):
                callback()

    def end_early(self) -> None:
        """Tell the task that it is to end; errors of its callbacks are not ours."""
        self._ending = True
        for callback in list(self._callbacks):
            with contextlib.suppress(Exception):
                callback()

    async def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin an attempt that is not inline; `logToFile` opens its file (TSK-10)."""
        self._loop = loop
        if self._prepared.task.uses_files and self._directory is None:
            self._directory = await asyncio.to_thread(_make_directory, self._settings.working_folder)
        if self._prepared.task.log_to_file:
            self._file = await asyncio.to_thread(_LogFile, self._settings.working_folder)

    def close(self) -> None:
        """Drop whatever is still written."""
        self._closed = True

    async def leave(self) -> None:
        """Store the log file and remove the working directory."""
        try:
            await self._store_log()
        finally:
            directory = None if self._keeps_directory else self._directory
            if directory is not None:
                self._directory = None
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _store_log(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        path = await asyncio.to_thread(file.close)
        try:
            uri = await self.put_file(path, f"{self.task_id}-{self.attempt}.log")
            self._entry(Level.INFO, f"The log of this task run is in {uri}")
        except Exception as error:  # the lines are lost, which must be seen where they are looked for
            self._entry(Level.ERROR, f"The log of this task run could not be stored: {error}")
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)


def _make_directory(parent: Path | None) -> Path:
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="flowtide-", dir=parent)).resolve()


class _LogFile:
    """The lines of one attempt on disk."""

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        handle = tempfile.NamedTemporaryFile(  # noqa: SIM115 - it is closed by close()
            "w",
            prefix="flowtide-",
            suffix=".log",
            dir=folder,
            delete=False,
            encoding="utf-8",
            errors="replace",
        )
        self._handle = handle
        self._path = Path(handle.name)

    def write(self, line: str) -> None:
        self._handle.write(line)

    def close(self) -> Path:
        self._handle.close()
        return self._path


def ancestors_of(job: Any, variables: Mapping[str, Any]) -> list[str]:
    """The executions whose files a job may read besides its own: those that started it (FIL-04), and its subflows.

    A subflow hands its files on by its outputs (page 474), which stand beside the id of its execution.
    """
    ancestors = list(job.ancestors)
    trigger = variables.get("trigger")
    if isinstance(trigger, dict) and isinstance(trigger.get("executionId"), str):
        ancestors.append(trigger["executionId"])
    ancestors.extend(_subflows_in(variables.get("outputs"), deepest=_DEEPEST_LOOP))
    return ancestors


def _subflows_in(outputs: Any, *, deepest: int) -> Iterator[str]:
    """The ids of the executions that tasks of type Subflow started; in loops their outputs stand below the values."""
    if not isinstance(outputs, Mapping):
        return
    for each in outputs.values():
        if not isinstance(each, Mapping):
            continue
        if each.keys() >= _SUBFLOW_OUTPUTS and isinstance(each["executionId"], str):
            yield each["executionId"]
        elif deepest:
            yield from _subflows_in(each, deepest=deepest - 1)


def encode_text_safely(entry: LogEntry) -> bytes:
    """Encode a line whose text is no valid Unicode, with question marks where it is not."""
    from msgspec.structs import replace

    return encode(replace(entry, message=entry.message.encode("utf-8", "replace").decode()))


def _on_loop(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
