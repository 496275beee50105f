"""Tasks on stored files, run by a worker (F W.3, storage)."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtide.model.commands import ReportRunEnded
from flowtide.model.states import State
from flowtide.plugins.tasks.storage import reverse
from tests.unit.services.worker_harness import WorkerHarness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        yield harness


async def _stored(harness: WorkerHarness, content: str, name: str = "items.ion") -> str:
    made = await harness.run(
        "core.storage.LocalFiles", inputs={name: content.replace("{", "{{ '{' }}")}, outputs=["*"]
    )
    assert made.state is State.SUCCESS, made.error
    uri: str = made.outputs["uris"][name]
    return uri


async def _run(harness: WorkerHarness, task: str, **properties: Any) -> ReportRunEnded:
    return await harness.run(f"core.storage.{task}", **properties)


async def _content(harness: WorkerHarness, uri: str) -> str:
    shown = await harness.run("core.debug.Return", format=f"{{{{ read('{uri}') }}}}")
    value: str = shown.outputs["value"]
    return value


async def test_a_file_has_a_size_and_can_be_removed(harness: WorkerHarness) -> None:
    """RUN-18, RUN-19: removing tells whether there was one; missing fails only when asked."""
    uri = await _stored(harness, "hello")
    assert (await _run(harness, "Size", uri=uri)).outputs == {"size": 5}
    assert (await _run(harness, "Delete", uri=uri)).outputs == {"uri": uri, "deleted": True}
    assert (await _run(harness, "Delete", uri=uri)).outputs == {"uri": uri, "deleted": False}
    failed = await _run(harness, "Delete", uri=uri, errorOnMissing=True)
    assert failed.state is State.FAILED
    assert "there is no file" in str(failed.error)
    assert (await _run(harness, "Size", uri=uri)).state is State.FAILED


@pytest.mark.parametrize("task", ["Size", "Delete"])
async def test_files_of_others_are_out_of_reach(harness: WorkerHarness, task: str) -> None:
    """FIL-04: only files of the own execution and of those above it."""
    other = "kestra:///company/team/flow/executions/another/tasks/a/b/c.txt"
    ended = await _run(harness, task, uri=other)
    assert ended.state is State.FAILED
    assert "does not belong to this execution" in str(ended.error)


async def test_all_files_of_an_execution_are_removed(harness: WorkerHarness) -> None:
    """RUN-22: their URIs are told; none left is no error."""
    uri = await _stored(harness, "hello")
    assert uri in (await _run(harness, "PurgeCurrentExecutionFiles")).outputs["uris"]
    assert (await _run(harness, "PurgeCurrentExecutionFiles")).outputs == {"uris": []}


async def test_items_are_filtered(harness: WorkerHarness) -> None:
    """FilterItems: fields are variables; what cannot be told fails, or is kept or dropped as asked."""
    uri = await _stored(harness, '{"id":1,"paid":true}\n{id:2,paid:false}\n\n{"id":3}\n')
    kept = await _run(harness, "FilterItems", **{"from": uri}, filterCondition="{{ paid }}",
                      errorOrNullBehavior="EXCLUDE")  # fmt: skip  # reads as one call
    assert kept.outputs["processedItemsTotal"] == 3
    assert kept.outputs["droppedItemsTotal"] == 2
    assert await _content(harness, kept.outputs["uri"]) == '{"id":1,"paid":true}\n'
    dropped = await _run(harness, "FilterItems", **{"from": uri}, filterCondition="{{ id == 2 }}",
                         filterType="EXCLUDE")  # fmt: skip  # as above
    assert await _content(harness, dropped.outputs["uri"]) == '{"id":1,"paid":true}\n{"id":3}\n'
    failed = await _run(harness, "FilterItems", **{"from": uri}, filterCondition="{{ paid }}")
    assert failed.state is State.FAILED
    assert "item 4" in str(failed.error)


async def test_what_is_no_item_names_its_line(harness: WorkerHarness) -> None:
    """A file of something else fails with the line."""
    uri = await _stored(harness, "{id:1}\n}}}\n")
    failed = await _run(harness, "FilterItems", **{"from": uri}, filterCondition="{{ id }}")
    assert failed.state is State.FAILED
    assert "line 2" in str(failed.error)


async def test_the_last_item_of_each_key_is_kept(harness: WorkerHarness) -> None:
    """DeduplicateItems: in the order of the file."""
    uri = await _stored(harness, '{key:"a",n:1}\n{key:"b",n:2}\n{key:"a",n:3}\n')
    ended = await _run(harness, "DeduplicateItems", **{"from": uri}, expr="{{ key }}")
    assert {name: ended.outputs[name] for name in ended.outputs if name != "uri"} == {
        "numKeys": 2,
        "processedItemsTotal": 3,
        "droppedItemsTotal": 1,
    }
    assert await _content(harness, ended.outputs["uri"]) == '{key:"b",n:2}\n{key:"a",n:3}\n'


async def test_lines_are_reversed(harness: WorkerHarness) -> None:
    """Reverse: with any separator; an unknown encoding is told."""
    uri = await _stored(harness, "1\n2\n3\n", "lines.txt")
    ended = await _run(harness, "Reverse", **{"from": uri})
    assert await _content(harness, ended.outputs["uri"]) == "3\n2\n1\n"
    failed = await _run(harness, "Reverse", **{"from": uri}, charset="none-such")
    assert "`charset`" in str(failed.error)


async def test_names_stay_in_the_working_directory(harness: WorkerHarness) -> None:
    """LocalFiles writes nothing outside."""
    failed = await _run(harness, "LocalFiles", inputs={"../out.txt": "x"})
    assert failed.state is State.FAILED
    assert "does not stay" in str(failed.error)


@given(
    lines=st.lists(st.binary(max_size=5).filter(lambda line: b"|" not in line), max_size=20),
    block=st.integers(1, 9),
)
def test_reading_backwards_is_reading_reversed(lines: list[bytes], block: int) -> None:
    """Whatever the size of the blocks, and with or without a mark at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reverse, "_BLOCK_BYTES", block)
        ended = b"".join(line + b"|" for line in lines)
        assert list(reverse.lines_backwards(io.BytesIO(ended), b"|")) == lines[::-1]
        if lines and lines[-1]:
            assert list(reverse.lines_backwards(io.BytesIO(ended[:-1]), b"|")) == lines[::-1]
