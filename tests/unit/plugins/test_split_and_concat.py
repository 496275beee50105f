"""Cutting files of lines and putting files together, alone and by a worker (F W.3, FLO-17, decision 0016)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtide.model.commands import ReportRunEnded
from flowtide.model.states import State
from flowtide.plugins.tasks.storage import splitting
from flowtide.plugins.tasks.storage.splitting import Splitting, size_bytes, split_file, splitting_of
from tests.unit.services.worker_harness import WorkerHarness


def _cut(folder: Path, content: bytes, **how: Any) -> list[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "source"
    source.write_bytes(content)
    paths = split_file(source, Splitting(**how), folder, lambda number: f"part-{number}")
    parts = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    return parts


def test_a_file_is_cut_by_rows(tmp_path: Path) -> None:
    """So many lines a part, the rest in the last one; a mark at the end begins no line, and no line is no part."""
    assert _cut(tmp_path, b"1\n2\n3\n", rows=2) == [b"1\n2\n", b"3\n"]
    assert _cut(tmp_path, b"1\n2", rows=1) == [b"1\n", b"2\n"]
    assert _cut(tmp_path, b"", rows=1) == []
    assert _cut(tmp_path, b"1;2;3", rows=2, separator=b";") == [b"1;2;", b"3;"]


def test_a_file_is_cut_by_size(tmp_path: Path) -> None:
    """A part is not larger than asked, but a line that is stays whole."""
    assert _cut(tmp_path, b"aa\nbb\ncccccccc\nd\n", size_bytes=6) == [b"aa\nbb\n", b"cccccccc\n", b"d\n"]


def test_lines_are_dealt_out(tmp_path: Path) -> None:
    """Among so many parts in turn; fewer lines are fewer parts."""
    assert _cut(tmp_path, b"1\n2\n3\n4\n5\n", partitions=2) == [b"1\n3\n5\n", b"2\n4\n"]
    assert _cut(tmp_path, b"1\n", partitions=3) == [b"1\n"]


def test_a_pattern_puts_lines_together(tmp_path: Path) -> None:
    """By its first group, in the order in which groups are met; lines in which it finds nothing are left out."""
    content = b"[a] 1\n[b] 2\nnothing\n[a] 3\n"
    assert _cut(tmp_path, content, pattern=r"\[(\w+)\]") == [b"[a] 1\n[a] 3\n", b"[b] 2\n"]


def test_of_several_ways_one_is_taken(tmp_path: Path) -> None:
    """SUB-12: the pattern, then size, number and rows."""
    assert _cut(tmp_path, b"1\n2\n3\n", rows=1, partitions=2) == [b"1\n3\n", b"2\n"]
    assert _cut(tmp_path, b"1\n2\n3\n", rows=1, partitions=2, size_bytes=4) == [b"1\n2\n", b"3\n"]
    assert _cut(tmp_path, b"1\n2\n", rows=1, size_bytes=2, pattern="([0-9])") == [b"1\n", b"2\n"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=st.lists(st.binary(max_size=6).filter(lambda line: b"\n" not in line), max_size=30),
    how=st.sampled_from([{"rows": 1}, {"rows": 7}, {"size_bytes": 5}, {"partitions": 3}]),
    block=st.integers(1, 9),
    buffer=st.integers(1, 9),
)
def test_no_line_is_lost(
    tmp_path: Path, lines: list[bytes], how: dict[str, int], block: int, buffer: int
) -> None:
    """However a file is cut and read, the parts have its lines, each once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "_BLOCK_BYTES", block)
        patch.setattr(splitting, "_BUFFER_BYTES", buffer)
        parts = _cut(tmp_path, b"".join(line + b"\n" for line in lines), **how)
    found = [line for part in parts for line in part.split(b"\n")[:-1]]
    assert sorted(found) == sorted(lines)
    if "partitions" not in how:
        assert found == lines


@pytest.mark.parametrize(
    ("text", "size"), [("1024", 1024), (10, 10), ("1KB", 1024), ("1.5 MB", 1572864), ("2GiB", 2 * 1024**3)]
)
def test_sizes_have_units(text: Any, size: int) -> None:
    """A kilobyte has 1,024 bytes."""
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    ("properties", "complaint"),
    [
        ({}, "needs one of"),
        ({"bytes": "many"}, "`bytes` must be a size"),
        ({"bytes": "0"}, "`bytes` must be a size"),
        ({"rows": "x"}, "`rows` must be a number from 1 on"),
        ({"partitions": 0}, "`partitions` must be a number from 1 on"),
        ({"regexPattern": "("}, "not a regular expression"),
        ({"regexPattern": "a"}, "must have a group"),
    ],
)
def test_what_makes_no_sense_is_told(properties: dict[str, Any], complaint: str) -> None:
    """Which property, and what it must be."""
    with pytest.raises(ValueError, match=complaint):
        splitting_of(properties)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        yield harness


async def _stored(harness: WorkerHarness, content: str) -> str:
    made = await harness.run("core.storage.LocalFiles", inputs={"lines.txt": content}, outputs=["*"])
    uri: str = made.outputs["uris"]["lines.txt"]
    return uri


async def _content(harness: WorkerHarness, uri: str) -> str:
    shown = await harness.run("core.debug.Return", format=f"{{{{ read('{uri}') }}}}")
    value: str = shown.outputs["value"]
    return value


async def _split(harness: WorkerHarness, **properties: Any) -> ReportRunEnded:
    return await harness.run("core.storage.Split", **properties)


async def test_a_worker_splits_and_puts_together(harness: WorkerHarness) -> None:
    """What Split gives, Concat makes whole again; `files` may be a list, an expression, or JSON text."""
    uri = await _stored(harness, "1\n2\n3\n")
    uris = (await _split(harness, **{"from": uri}, rows="{{ 1 + 1 }}")).outputs["uris"]
    assert [await _content(harness, each) for each in uris] == ["1\n2\n", "3\n"]
    for files in (uris, json.dumps(uris), "{{ " + json.dumps(uris) + " }}"):
        ended = await harness.run("core.storage.Concat", files=files, separator="-", extension=".txt")
        assert ended.state is State.SUCCESS, ended.error
        assert ended.outputs["uri"].endswith(".txt")
        assert await _content(harness, ended.outputs["uri"]) == "1\n2\n-3\n"


async def test_bad_properties_fail_the_task(harness: WorkerHarness) -> None:
    """With a sentence that names the property."""
    uri = await _stored(harness, "1\n")
    assert "needs one of" in str((await _split(harness, **{"from": uri})).error)
    wrong = await harness.run("core.storage.Concat", files="{{ 1 }}")
    assert "`files` must be a list of URIs" in str(wrong.error)
    outside = await harness.run("core.storage.Concat", files=[uri], extension="/../x")
    assert "`extension`" in str(outside.error)


async def test_a_worker_cuts_for_a_for_each_item(harness: WorkerHarness) -> None:
    """FLO-18: the batches stand beside the list of their URIs, numbered from 0; `items` must be a stored file."""
    uri = await _stored(harness, "1\n2\n3\n")
    task = "core.flow.ForEachItem$ForEachItemSplit"
    ended = await harness.run(task, items=uri, batch={"rows": 2})
    assert ended.state is State.SUCCESS, ended.error
    assert ended.outputs["numberOfBatches"] == 2
    folder = ended.outputs["splits"].rpartition("/")[0]
    assert await _content(harness, ended.outputs["splits"]) == f"{folder}/batch-0.ion\n{folder}/batch-1.ion\n"
    assert await _content(harness, f"{folder}/batch-1.ion") == "3\n"
    failed = await harness.run(task, items="one, two")
    assert "`items` must be the URI of a stored file" in str(failed.error)
