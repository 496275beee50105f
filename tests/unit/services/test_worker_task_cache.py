"""`taskCache` (CAC-04): what decides whether a task runs again, and whose files its outputs name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from flowtide.errors import FileForbidden, FlowInvalid, TaskFailed, TaskWarning
from flowtide.model.commands import ReportRunEnded
from flowtide.model.plugin import Registry
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.model.task import RunContext, RunnableTask
from flowtide.storage import ExecutionFolder, check_readable
from tests.unit.services.worker_harness import REGISTRY, WorkerHarness


class Costly(RunnableTask):
    """Counts how often it ran; stores a file."""

    runs: ClassVar[int] = 0
    text: str = ""
    ends: str = "SUCCESS"

    async def run(self, context: RunContext) -> dict[str, Any]:
        Costly.runs += 1
        outputs = {
            "text": context.render(self.text),
            "number": Costly.runs,
            "file": await context.put_bytes(str(Costly.runs).encode(), "a folder/file.txt"),
            "many": [{"of": await context.put_bytes(b"second", "second.txt")}],
        }
        if self.ends == "FAILED":
            raise TaskFailed("it failed")
        if self.ends == "WARNING":
            raise TaskWarning("nearly", outputs=outputs)
        return outputs


class Cached(WorkerHarness):
    """Runs the task in an execution of its own each time."""

    executions = 0

    async def make(
        self,
        *,
        ttl: str | None = "PT1H",
        variables: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        **properties: Any,
    ) -> ReportRunEnded:
        self.executions += 1
        cache = {"enabled": True, **({} if ttl is None else {"ttl": ttl})}
        job = self.job("test.Costly", variables=variables, taskCache=cache, **properties)
        job = msgspec.structs.replace(job, execution_id=f"e{self.executions}", **(fields or {}))
        await self.send(job)
        return await self.end_of(job)

    async def content(self, uri: str) -> bytes:
        return await self.storage.get("main", uri)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Cached]:
    Costly.runs = 0
    plugins: Any = {(kind, name): plugin for kind, name, plugin in REGISTRY}
    plugins["task", "io.kestra.plugin.test.Costly"] = Costly
    async with Cached(tmp_path, registry=Registry(plugins)) as harness:
        harness.start()
        yield harness


async def test_the_same_task_does_not_run_again(worker: Cached) -> None:
    """A later execution gets state and outputs at once, and a line says from when they are."""
    first = await worker.make(text="{{ inputs.x }}", variables={"inputs": {"x": "a"}})
    again = await worker.make(text="{{ inputs.x }}", variables={"inputs": {"x": "a"}})
    assert (Costly.runs, again.state, again.outputs["number"]) == (1, State.SUCCESS, first.outputs["number"])
    await worker.until(lambda: worker.lines)
    assert "did not run: its outputs of 2026-01-05" in worker.messages()[0]


async def test_files_become_the_later_execution_s_own(worker: Cached) -> None:
    """Their URIs may be read there, and a purge of the first execution leaves them (FIL-04)."""
    first = await worker.make()
    again = await worker.make()
    uri = again.outputs["file"]
    check_readable(uri, folder=ExecutionFolder("company.team", "f", "e2"))
    with pytest.raises(FileForbidden):
        check_readable(first.outputs["file"], folder=ExecutionFolder("company.team", "f", "e2"))
    await worker.storage.delete("main", first.outputs["file"])
    assert await worker.content(uri) == b"1"
    assert await worker.content(again.outputs["many"][0]["of"]) == b"second"


async def test_a_file_that_is_gone_makes_the_task_run_again(worker: Cached) -> None:
    """Outputs whose files were purged are no outputs."""
    first = await worker.make()
    await worker.storage.delete("main", first.outputs["file"])
    assert (await worker.make()).outputs["number"] == 2
    assert (await worker.make()).outputs["number"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"text": "other"},
        {"variables": {"inputs": {"x": "b"}}},
        {"fields": {"task_id": "other"}},
        {"fields": {"tenant_id": "other"}},
    ],
)
async def test_what_decides_the_result_is_part_of_the_key(worker: Cached, change: dict[str, Any]) -> None:
    """Tenant, task and rendered properties; each change of one runs the task."""
    asked: dict[str, Any] = {"text": "{{ inputs.x }}", "variables": {"inputs": {"x": "a"}}}
    await worker.make(**asked)
    assert (await worker.make(**{**asked, **change})).outputs["number"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"retry": {"type": "constant", "interval": "PT1S"}},
        {"timeout": "PT1M"},
        {"description": "told"},
        {"fields": {"attempt": 3}},
        {"text": "{{ workingDir }}"},
    ],
)
async def test_what_decides_no_result_is_no_part_of_the_key(worker: Cached, change: dict[str, Any]) -> None:
    """When and where it runs, the attempt, and the folder that each attempt has."""
    asked: dict[str, Any] = {"text": "{{ workingDir }}"} if "text" in change else {"text": "same"}
    variables = {"workingDir": "/somewhere"}
    await worker.make(**asked, variables=variables)
    assert (await worker.make(**{**asked, **change}, variables={"workingDir": "/elsewhere"})).outputs[
        "number"
    ] == 1


async def test_the_ttl_of_now_decides(worker: Cached) -> None:
    """CAC-02 likewise: a shorter one makes what is there old, a longer one makes it young again."""
    await worker.make(ttl="PT1H")
    worker.clock.advance(timedelta(minutes=30))
    assert (await worker.make(ttl="PT1H")).outputs["number"] == 1
    assert (await worker.make(ttl=None)).outputs["number"] == 1
    assert (await worker.make(ttl="PT10M")).outputs["number"] == 2
    worker.clock.advance(timedelta(hours=2))
    assert (await worker.make(ttl="PT1H")).outputs["number"] == 3


async def test_failures_are_not_kept_and_warnings_are(worker: Cached) -> None:
    """The state is part of what is reused; a failure would be reused until the ttl is over."""
    for _ in range(2):
        assert (await worker.make(ends="FAILED")).state is State.FAILED
    assert Costly.runs == 2
    for _ in range(2):
        assert (await worker.make(ends="WARNING")).state is State.WARNING
    assert Costly.runs == 3


async def test_a_damaged_entry_is_written_anew(worker: Cached) -> None:
    """What cannot be read is no cache, and no failure."""
    await worker.make()
    for uri in await worker.storage.list("main", "kestra:///company/team/f/_cache"):
        await worker.storage.put("main", uri, b"half of it")
    assert (await worker.make()).outputs["number"] == 2
    assert (await worker.make()).outputs["number"] == 2


async def test_disabled_it_is_no_cache(worker: Cached) -> None:
    """`enabled: false` runs the task each time."""
    for number in (1, 2):
        job = worker.job("test.Costly", taskCache={"enabled": False})
        await worker.send(job)
        assert (await worker.end_of(job)).outputs["number"] == number


async def test_a_property_that_cannot_be_rendered_is_not_cached(worker: Cached) -> None:
    """The task says itself what is wrong, and a line says that there was no cache."""
    end = await worker.make(text="{{ nothing.here }}")
    assert end.state is State.FAILED
    await worker.until(
        lambda: any("cache of this task is not used" in line for line in worker.messages("WARN"))
    )


def test_flowable_tasks_have_no_cache() -> None:
    """Page 475: only runnable tasks; a violation says where to put it."""
    source = """
        id: f
        namespace: company.team
        tasks:
          - id: both
            type: io.kestra.plugin.core.flow.Sequential
            taskCache: {enabled: true}
            tasks: [{id: one, type: io.kestra.plugin.core.debug.Return}]
        """
    with pytest.raises(FlowInvalid, match="`taskCache` is for tasks that run on a worker"):
        parse_flow(source, REGISTRY).valid()
