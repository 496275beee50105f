"""Directories of WorkingDirectory tasks on a worker: opened, shared, closed, lost, and never used twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from flowtide.errors import TaskFailed
from flowtide.log.port import Message
from flowtide.model.commands import LoseWorker, ReportDirectoryOpened, ReportRunEnded, ReportRunStarted
from flowtide.model.directories import DirectoryBlock, DirectoryTask
from flowtide.model.jobs import CloseDirectory, KillRun, RunInDirectory, RunTask
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.model.task import RunContext, RunnableTask
from flowtide.services.worker.directories import ASK_AFTER, LEND_AFTER
from tests.unit.services.worker_harness import REGISTRY, WorkerHarness


class Block(DirectoryBlock):
    """Writes a file; gives what stands in it at the end."""

    uses_files: ClassVar[bool] = True
    content: str = "opened"

    async def run(self, context: RunContext) -> None:
        if self.content == "broken":
            raise TaskFailed("it cannot be opened")
        await asyncio.to_thread((context.working_directory / "log").write_text, self.content)

    async def close(self, context: RunContext, *, failed: bool) -> dict[str, Any]:
        text = await asyncio.to_thread((context.working_directory / "log").read_text)
        return {"text": text, "failed": failed}


class Directory(DirectoryTask):
    """Tasks that share a file."""

    block: ClassVar[type[DirectoryBlock]] = Block
    content: str = "opened"


class Append(RunnableTask):
    """Adds its run to the file; waits for the test first where it is told to."""

    gates: ClassVar[dict[str, asyncio.Event]]
    begun: ClassVar[list[str]]
    uses_files: ClassVar[bool] = True

    async def run(self, context: RunContext) -> dict[str, Any]:
        Append.begun.append(context.task_run_id)
        if context.task_run_id in Append.gates:
            await Append.gates[context.task_run_id].wait()
        path = context.working_directory / "log"
        text = await asyncio.to_thread(path.read_text)
        await asyncio.to_thread(path.write_text, f"{text} {context.task_run_id}")
        return {"directory": str(context.working_directory), "workingDir": context.variables["workingDir"]}


class Directories(WorkerHarness):
    """Sends what an executor would."""

    async def open(self, **properties: Any) -> RunTask:
        job = self.job("test.Directory", **properties)
        await self.send(job)
        return job

    async def opened(self, job: RunTask) -> None:
        await self.until(lambda: self.reports_of(ReportDirectoryOpened, job.run_id))

    def reports_of(self, kind: type[Any], run_id: str) -> list[Any]:
        return [report for report in self.reports if isinstance(report, kind) and report.run_id == run_id]

    async def control(self, *controls: RunInDirectory | CloseDirectory | KillRun) -> None:
        await self.log.append(
            [Message(topic="worker_controls", key="main/e1", value=encode(each)) for each in controls]
        )

    async def inside(self, directory: RunTask, *, worker: str = "worker-1") -> RunTask:
        job = self.job("test.Append")
        await self.control(self.order(directory, job, worker=worker))
        return job

    def order(self, directory: RunTask, job: RunTask, *, worker: str = "worker-1") -> RunInDirectory:
        return RunInDirectory(
            tenant_id="main",
            execution_id="e1",
            worker_id=worker,
            directory_run_id=directory.run_id,
            directory_attempt=directory.attempt,
            job=job,
        )

    async def close(self, directory: RunTask, **fields: Any) -> CloseDirectory:
        control = CloseDirectory(
            tenant_id="main",
            execution_id="e1",
            worker_id="worker-1",
            run_id=directory.run_id,
            attempt=directory.attempt,
            at=self.clock.now(),
            **fields,
        )
        await self.control(control)
        return control

    async def until_in_time(self, condition: Callable[[], object]) -> None:
        """As `until`, with a clock that moves on."""

        def moved() -> object:
            self.clock.advance(timedelta(milliseconds=100))
            return condition()

        await self.until(moved)

    def folders(self) -> list[str]:
        work = self.settings.working_folder
        assert work is not None
        return sorted(path.name for path in work.iterdir()) if work.exists() else []


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Directories]:
    Append.gates, Append.begun = {}, []
    plugins: Any = {(kind, name): plugin for kind, name, plugin in REGISTRY}
    for plugin in (Directory, Append):
        plugins["task", f"io.kestra.plugin.test.{plugin.__name__}"] = plugin
    async with Directories(tmp_path, registry=Registry(plugins), threads=2) as harness:
        harness.start()
        yield harness


async def test_tasks_of_a_directory_share_its_files(worker: Directories) -> None:
    """FLO-23: what opens it, the tasks inside and what closes it see one folder, which is removed at the end."""
    directory = await worker.open()
    await worker.opened(directory)
    assert worker.ended(directory.run_id) is None
    first = await worker.end_of(await worker.inside(directory))
    second = await worker.end_of(await worker.inside(directory))
    assert first.outputs == second.outputs
    assert first.outputs["directory"] == first.outputs["workingDir"]
    await worker.close(directory)
    end = await worker.end_of(directory)
    assert (end.state, end.outputs) == (
        State.SUCCESS,
        {"text": f"opened {first.run_id} {second.run_id}", "failed": False},
    )
    await worker.until(lambda: not worker.folders() and worker.worker.running == 0)


async def test_a_directory_that_cannot_be_opened_fails(worker: Directories) -> None:
    """The end is reported with the reason, the folder is removed and its slot is free."""
    directory = await worker.open(content="broken")
    end = await worker.end_of(directory)
    assert (end.state, end.error) == (State.FAILED, "it cannot be opened")
    assert not worker.reports_of(ReportDirectoryOpened, directory.run_id)
    await worker.until(lambda: not worker.folders() and worker.worker.running == 0)


async def test_controls_that_come_twice_do_nothing_twice(worker: Directories) -> None:
    """A job runs once, a directory is closed once; what comes after the end is answered as lost."""
    directory = await worker.open()
    await worker.opened(directory)
    job = worker.job("test.Append")
    order = worker.order(directory, job)
    await worker.control(order, order)
    await worker.end_of(job)
    await worker.control(order)
    closing = await worker.close(directory)
    await worker.end_of(directory)
    await worker.control(closing, order)
    await worker.until(lambda: len(worker.reports_of(LoseWorker, directory.run_id)) == 2)
    assert Append.begun == [job.run_id]
    assert len(worker.reports_of(ReportRunStarted, job.run_id)) == 1
    assert len(worker.reports_of(ReportRunEnded, directory.run_id)) == 1
    assert worker.ended(job.run_id) is not None


async def test_what_is_for_another_worker_is_passed_over(worker: Directories) -> None:
    """Every worker reads every control; only the one that is named acts."""
    directory = await worker.open()
    await worker.opened(directory)
    elsewhere = await worker.inside(directory, worker="worker-2")
    here = await worker.inside(directory)
    await worker.end_of(here)
    assert elsewhere.run_id not in Append.begun


async def test_a_job_for_a_directory_that_is_not_here_says_that_it_is_lost(worker: Directories) -> None:
    """So the executor starts the tasks again instead of waiting for ever."""
    directory = worker.job("test.Directory")
    marker = await worker.open()
    await worker.opened(marker)  # the worker listens to controls from then on
    job = await worker.inside(directory)
    await worker.until(lambda: worker.reports_of(LoseWorker, directory.run_id))
    (lost,) = worker.reports_of(LoseWorker, directory.run_id)
    assert (lost.attempt, lost.worker_id, lost.resubmit) == (0, "worker-1", True)
    assert job.run_id not in Append.begun


async def test_a_kill_ends_the_task_inside_and_removes_the_directory(worker: Directories) -> None:
    """STA-11: the task is reported KILLED, nothing more is run, nothing is reported of the directory."""
    directory = await worker.open()
    await worker.opened(directory)
    job = worker.job("test.Append")
    Append.gates[job.run_id] = asyncio.Event()
    await worker.control(worker.order(directory, job))
    await worker.until(lambda: job.run_id in Append.begun)
    await worker.kill("")
    assert (await worker.end_of(job)).state is State.KILLED
    await worker.until(lambda: not worker.folders() and worker.worker.running == 0)
    assert worker.ended(directory.run_id) is None


async def test_a_discarded_directory_waits_for_what_runs_in_it(worker: Directories) -> None:
    """Nothing loses its folder while it runs; nothing is kept."""
    directory = await worker.open()
    await worker.opened(directory)
    job = worker.job("test.Append")
    gate = Append.gates[job.run_id] = asyncio.Event()
    await worker.control(worker.order(directory, job))
    await worker.until(lambda: job.run_id in Append.begun)
    await worker.close(directory, discard=True)
    late = await worker.inside(directory)
    await worker.until(lambda: worker.reports_of(LoseWorker, directory.run_id))
    gate.set()
    assert (await worker.end_of(job)).state is State.SUCCESS
    await worker.until(lambda: not worker.folders())
    assert worker.ended(directory.run_id) is None
    assert late.run_id not in Append.begun


async def test_tasks_at_the_same_time_take_further_slots(worker: Directories) -> None:
    """A directory has one slot; of three tasks at once two run on a worker with two slots, the third waits."""
    directory = await worker.open()
    await worker.opened(directory)
    jobs = [worker.job("test.Append") for _ in range(3)]
    for job in jobs:
        Append.gates[job.run_id] = asyncio.Event()
    await worker.control(*[worker.order(directory, job) for job in jobs])
    await worker.until(lambda: len(Append.begun) == 2)
    assert worker.worker.running == 2
    Append.gates[Append.begun[0]].set()
    await worker.until(lambda: len(Append.begun) == 3)
    for gate in Append.gates.values():
        gate.set()
    for job in jobs:
        await worker.end_of(job)
    await worker.close(directory)
    await worker.end_of(directory)
    await worker.until(lambda: worker.worker.running == 0)


async def test_an_idle_directory_lends_its_slot(worker: Directories) -> None:
    """What a directory waits for, such as a subflow, may need the slot; it takes one again for its next task."""
    directories = [await worker.open() for _ in range(2)]
    for directory in directories:
        await worker.opened(directory)
    third = await worker.open()
    begun = worker.clock.now()
    await worker.until_in_time(lambda: worker.reports_of(ReportDirectoryOpened, third.run_id))
    assert worker.clock.now() - begun >= LEND_AFTER
    for directory in (*directories, third):
        job = await worker.inside(directory)
        await worker.until_in_time(partial(worker.ended, job.run_id))


async def test_a_long_idle_directory_is_asked_about(worker: Directories) -> None:
    """An executor answers the start of what is over with a kill; that removes it."""
    directory = await worker.open()
    await worker.opened(directory)
    begun = worker.clock.now()
    while worker.clock.now() - begun <= ASK_AFTER + timedelta(minutes=1):
        await worker.until(lambda: worker.clock.sleeping)
        worker.clock.advance(timedelta(minutes=1))
        await asyncio.sleep(0)
    await worker.until(lambda: len(worker.reports_of(ReportRunStarted, directory.run_id)) == 2)
    await worker.control(
        KillRun(
            tenant_id="main", execution_id="e1", run_id=directory.run_id, attempt=0, at=worker.clock.now()
        )
    )
    await worker.until(lambda: not worker.folders() and worker.worker.running == 0)


async def test_a_stopping_worker_lets_a_busy_directory_go_on_and_says_that_idle_ones_are_lost(
    worker: Directories,
) -> None:
    """Within the grace the directory goes on to its end; what is left then is lost, and removed."""
    idle, busy = await worker.open(), await worker.open()
    await worker.opened(idle)
    await worker.opened(busy)
    job = worker.job("test.Append")
    gate = Append.gates[job.run_id] = asyncio.Event()
    await worker.control(worker.order(busy, job))
    await worker.until(lambda: job.run_id in Append.begun)
    stopping = asyncio.create_task(worker.worker.stop(timedelta(minutes=5)))
    await asyncio.sleep(0)
    gate.set()
    await worker.end_of(job)
    await worker.close(busy)
    end = await worker.end_of(busy)
    assert end.outputs["text"] == f"opened {job.run_id}"
    while not stopping.done():
        worker.clock.advance(timedelta(seconds=1))
        await asyncio.sleep(0.001)
    await stopping
    await worker.until(lambda: worker.reports_of(LoseWorker, idle.run_id))
    assert not worker.reports_of(LoseWorker, busy.run_id)
    assert worker.folders() == []


async def test_a_job_that_no_worker_can_run_fails_inside(worker: Directories) -> None:
    """A type that is missing here is an error of the task, and the directory goes on."""
    directory = await worker.open()
    await worker.opened(directory)
    job = worker.job("test.Append")
    unknown = msgspec.structs.replace(worker.job("test.Missing"), run_id="missing")
    await worker.control(worker.order(directory, unknown), worker.order(directory, job))
    end = await worker.end_of(unknown)
    assert end.state is State.FAILED
    assert "test.Missing" in (end.error or "")
    assert (await worker.end_of(job)).state is State.SUCCESS
