"""What a trigger sees while a worker evaluates it, or listens: as a task does, with the lines in the trigger's log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flowtide.errors import TaskFailed
from flowtide.log.port import Message
from flowtide.model.entries import Level, LogEntry
from flowtide.model.jobs import EvaluateTrigger, RunTask, TriggerJob
from flowtide.model.records import encode
from flowtide.secrets import Mask
from flowtide.services.worker.context import TaskContext, encode_text_safely
from flowtide.services.worker.functions import input_output_functions
from flowtide.services.worker.preparation import PreparedTask
from flowtide.storage import ExecutionFolder, trigger_file

if TYPE_CHECKING:
    from flowtide.services.worker.attempt import Tools


class TriggerContext(TaskContext):
    """The context of one evaluation, or of one listening.

    `execution_id` is the execution that an evaluation would start, and files belong to it; while listening there is
    none.  `log_file` is the URI of the lines, after `leave`, when `logToFile` asked for them.
    """

    __slots__ = ("log_file",)

    def __init__(
        self,
        job: TriggerJob,
        prepared: PreparedTask,
        variables: dict[str, Any],
        tools: Tools,
        mask: Mask,
    ) -> None:
        execution_id = job.job_id if isinstance(job, EvaluateTrigger) else ""
        folder = ExecutionFolder(job.flow.namespace, job.flow.id, execution_id)
        files = None
        if tools.platforms is not None:
            files = tools.platforms.readable_files(
                job.tenant_id,
                folder,
                (),
                plugin_type=prepared.type_name,
                working_directory=lambda: self.made_directory,
            )
        functions = input_output_functions(
            tenant_id=job.tenant_id,
            folder=folder,
            ancestors=(),
            storage=tools.storage.blocking,
            secrets=tools.secrets,
            on_secret=mask.add,
            platforms=tools.platforms,
            files=files,
        )
        super().__init__(
            job=RunTask(
                tenant_id=job.tenant_id,
                execution_id=execution_id,
                run_id=job.job_id,
                attempt=0,
                task_id=job.trigger_id,
                flow=job.flow,
                task=job.trigger,
                variables=job.variables,
                at=job.at,
            ),
            prepared=prepared,
            variables=variables,
            storage=tools.storage,
            settings=tools.settings,
            now=tools.clock.now,
            random=tools.random,
            outbox=tools.outbox,
            mask=mask,
            functions=functions,
            platform=None
            if tools.platforms is None
            else tools.platforms.of(job.tenant_id, job.flow.namespace),
            files=files,
            cipher=tools.cipher,
        )
        self.log_file: str | None = None

    def _entry(self, level: Level, message: str) -> None:
        entry = LogEntry(
            tenant_id=self.tenant_id,
            namespace=self.namespace,
            flow_id=self.flow_id,
            trigger_id=self.task_id,
            timestamp=self.now(),
            level=level,
            message=message,
            thread=self.thread,
        )
        try:
            value = encode(entry)
        except UnicodeEncodeError:  # half a surrogate pair, from a template or a program
            value = encode_text_safely(entry)
        self._put(Message(topic="logs", key=trigger_text(self.job), value=value))

    def _measure(
        self, kind: Literal["counter", "timer", "gauge"], name: str, value: float, tags: Mapping[str, Any]
    ) -> None:
        """Metrics belong to task runs; a trigger has none."""

    async def _store(self, content: bytes | Path, name: str) -> str:
        if not self.execution_id:
            raise TaskFailed(
                "a realtime trigger has no execution that a file could belong to; give its content"
            )
        uri = trigger_file(self.folder, trigger_id=self.task_id, name=name)
        await self._storage.put(self.tenant_id, uri, content)
        return uri

    async def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; the lines of a realtime trigger never go to a file, as they have no end."""
        await super().enter(loop)
        if not self.execution_id and self._file is not None:
            path = await asyncio.to_thread(self._file.close)
            self._file = None
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _store_log(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        path = await asyncio.to_thread(file.close)
        try:
            self.log_file = await self.put_file(path, f"{self.task_run_id}.log")
            self._entry(Level.INFO, f"The log of this evaluation is in {self.log_file}")
        except Exception as error:  # the lines are lost, which must be seen where they are looked for
            self._entry(Level.ERROR, f"The log of this evaluation could not be stored: {error}")
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)


def trigger_text(job: RunTask) -> str:
    """The key of the trigger's records, of a context's job."""
    return f"{job.tenant_id}/{job.flow.namespace}/{job.flow.id}/{job.task_id}"
