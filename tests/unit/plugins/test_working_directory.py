"""What comes into a WorkingDirectory and what is kept of it: files, namespace files, the cache and its archive."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowtide.errors import FlowInvalid
from flowtide.log.port import Message
from flowtide.model.commands import ReportDirectoryOpened, ReportRunEnded
from flowtide.model.jobs import CloseDirectory, RunTask
from flowtide.model.records import encode
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.plugins.tasks.directory_cache import pack, unpack
from tests.unit.services.worker_harness import REGISTRY, WorkerHarness

CACHE = {"patterns": ["deps/**"], "ttl": "PT1H"}


class Directories(WorkerHarness):
    """Opens a directory, does something in it, closes it."""

    executions = 0

    async def open(self, **properties: Any) -> tuple[RunTask, Path]:
        self.executions += 1
        job = self.job("core.flow.WorkingDirectory", **properties)
        job = msgspec.structs.replace(job, execution_id=f"e{self.executions}")
        before = self._folders()
        await self.send(job)
        await self.until(
            lambda: (
                self.ended(job.run_id)
                or any(
                    isinstance(each, ReportDirectoryOpened) and each.run_id == job.run_id
                    for each in self.reports
                )
            )
        )
        ended = self.ended(job.run_id)
        assert ended is None, ended
        (path,) = self._folders() - before
        return job, path

    async def close(self, job: RunTask, *, failed: bool = False) -> ReportRunEnded:
        control = CloseDirectory(
            tenant_id="main",
            execution_id=job.execution_id,
            worker_id="worker-1",
            run_id=job.run_id,
            attempt=0,
            at=self.clock.now(),
            failed=failed,
        )
        await self.log.append([Message(topic="worker_controls", key="main/e1", value=encode(control))])
        return await self.end_of(job)

    async def fails_to_open(self, **properties: Any) -> str:
        job = self.job("core.flow.WorkingDirectory", **properties)
        await self.send(job)
        end = await self.end_of(job)
        assert end.state is State.FAILED
        return end.error or ""

    def _folders(self) -> set[Path]:
        work = self.settings.working_folder
        assert work is not None
        return {path for path in work.iterdir() if path.is_dir()} if work.exists() else set()


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Directories]:
    async with Directories(tmp_path) as harness:
        harness.start()
        yield harness


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


async def test_input_files_are_there_and_output_files_are_kept(worker: Directories) -> None:
    """FLO-23, H: contents are templates; the outputs name what fits, by its path in the directory."""
    job, path = await worker.open(
        inputFiles={"a/in.txt": "{{ inputs.x }}"},
        outputFiles=["**.txt"],
        variables={"inputs": {"x": "given"}},
    )
    assert (path / "a/in.txt").read_text() == "given"
    await asyncio.to_thread(_write, path, {"b/out.txt": "made", "b/none.bin": ""})
    end = await worker.close(job)
    files = end.outputs["outputFiles"]
    assert sorted(files) == ["a/in.txt", "b/out.txt"]
    assert await worker.storage.get("main", files["b/out.txt"]) == b"made"


@pytest.mark.parametrize("name", ["../out", "/etc/x", "a/../../x"])
async def test_an_input_file_stays_in_the_directory(worker: Directories, name: str) -> None:
    """A name that leads out of it fails the task run."""
    assert "inputFiles" in await worker.fails_to_open(inputFiles={name: "x"})


async def test_an_input_file_is_not_written_through_a_link_of_the_cache(
    worker: Directories, tmp_path: Path
) -> None:
    """A link that an earlier task left is replaced; one to a folder outside fails the task run."""
    secret = tmp_path / "secret"
    await asyncio.to_thread(_write, tmp_path, {"secret": "untouched"})
    job, path = await worker.open(cache=CACHE)
    await asyncio.to_thread(_write, path, {"deps/one": "1"})
    (path / "deps/file").symlink_to(secret)
    (path / "deps/folder").symlink_to(tmp_path)
    await worker.close(job)
    _, path = await worker.open(cache=CACHE, inputFiles={"deps/file": "mine"})
    assert (path / "deps/file").read_text() == "mine"
    error = await worker.fails_to_open(cache=CACHE, inputFiles={"deps/folder/secret": "mine"})
    assert "leads out of the working directory" in error
    assert secret.read_text() == "untouched"


async def test_what_fits_is_there_again(worker: Directories) -> None:
    """CAC-01: files with their modes, and links; what does not fit is not; input files are newer."""
    job, path = await worker.open(cache=CACHE)
    await asyncio.to_thread(_write, path, {"deps/bin/tool": "run", "deps/shared": "old", "other": "gone"})
    (path / "deps/bin/tool").chmod(0o755)
    (path / "deps/link").symlink_to("bin/tool")
    assert (await worker.close(job)).state is State.SUCCESS
    _, path = await worker.open(cache=CACHE, inputFiles={"deps/shared": "new"})
    assert await asyncio.to_thread(_names, path) == ["deps/bin/tool", "deps/link", "deps/shared"]
    assert (path / "deps/bin/tool").stat().st_mode & 0o777 == 0o755
    assert os.readlink(path / "deps/link") == "bin/tool"
    assert (path / "deps/shared").read_text() == "new"


async def test_the_ttl_of_now_decides(worker: Directories) -> None:
    """CAC-02: since the files were kept, by the `ttl` that the task has when it runs."""
    job, path = await worker.open(cache=CACHE)
    await asyncio.to_thread(_write, path, {"deps/one": "1"})
    await worker.close(job)
    worker.clock.advance(timedelta(minutes=30))
    found = {}
    for ttl in ("PT20M", "PT31M"):
        job, path = await worker.open(cache={**CACHE, "ttl": ttl})
        found[ttl] = await asyncio.to_thread(_names, path)
    assert found == {"PT20M": [], "PT31M": ["deps/one"]}


async def test_the_archive_is_written_only_when_files_changed(worker: Directories) -> None:
    """Page 059: a line says which; the date stays that of the files, so that the ttl ends."""
    job, path = await worker.open(cache=CACHE)
    await asyncio.to_thread(_write, path, {"deps/one": "1"})
    await worker.close(job)
    worker.clock.advance(timedelta(minutes=40))
    job, path = await worker.open(cache=CACHE)
    await worker.close(job)
    await worker.until(lambda: "The files of the cache did not change" in worker.messages())
    worker.clock.advance(timedelta(minutes=40))
    job, path = await worker.open(cache=CACHE)
    assert await asyncio.to_thread(_names, path) == []
    await asyncio.to_thread(_write, path, {"deps/one": "2"})
    await worker.close(job)
    kept = await worker.storage.list("main", "kestra:///company/team/f/_cache")
    assert len(kept) == 2, "the note, and one archive"
    job, path = await worker.open(cache=CACHE)
    assert (path / "deps/one").read_text() == "2"


async def test_nothing_is_kept_of_tasks_that_failed(worker: Directories) -> None:
    """Half of an installation would be used until the ttl is over; output files are kept all the same."""
    job, path = await worker.open(cache=CACHE, outputFiles=["**"])
    await asyncio.to_thread(_write, path, {"deps/one": "1"})
    end = await worker.close(job, failed=True)
    assert (end.state, list(end.outputs["outputFiles"])) == (State.SUCCESS, ["deps/one"])
    _, path = await worker.open(cache=CACHE)
    assert await asyncio.to_thread(_names, path) == []


async def test_files_that_cannot_be_read_fail_the_end(
    worker: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CAC-03: such as those that a container wrote as another user; the text is known from Kestra."""
    job, path = await worker.open(cache=CACHE)
    await asyncio.to_thread(_write, path, {"deps/one": "1"})

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "deps/one")

    monkeypatch.setattr("flowtide.plugins.tasks.directory_cache.pack", refuse)
    end = await worker.close(job)
    assert end.state is State.FAILED
    assert (end.error or "").startswith("Unable to execute WorkingDirectory post actions: ")
    await worker.until(lambda: worker.worker.running == 0)


async def test_a_damaged_cache_is_dropped(worker: Directories) -> None:
    """The task run says so, and the next one starts without it."""
    job, path = await worker.open(cache=CACHE)
    await asyncio.to_thread(_write, path, {"deps/one": "1"})
    await worker.close(job)
    for uri in await worker.storage.list("main", "kestra:///company/team/f/_cache"):
        if uri.endswith(".tar.gz"):
            await worker.storage.put("main", uri, b"no archive")
    assert "the cache of this task was damaged" in await worker.fails_to_open(cache=CACHE)
    _, path = await worker.open(cache=CACHE)
    assert await asyncio.to_thread(_names, path) == []


def _archive(path: Path, entries: Sequence[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(path, "w:gz") as target:
        for entry, content in entries:
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "a//b"])
def test_a_name_in_an_archive_stays_in_the_directory(tmp_path: Path, name: str) -> None:
    """An archive that somebody put into the storage writes nowhere else."""
    archive, folder = tmp_path / "archive", tmp_path / "folder"
    folder.mkdir()
    _archive(archive, [(tarfile.TarInfo(name), b"x")])
    with pytest.raises(ValueError, match="leads out of the directory"):
        unpack(archive, folder)
    assert not (tmp_path / "out").exists()


def test_no_file_of_an_archive_is_written_through_a_link(tmp_path: Path) -> None:
    """Links come last, and none is made through another one; devices and hard links are passed over."""
    archive, folder, outside = tmp_path / "archive", tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    inner = tarfile.TarInfo("link/inner")
    inner.type, inner.linkname = tarfile.SYMTYPE, "x"
    hard = tarfile.TarInfo("hard")
    hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
    device = tarfile.TarInfo("device")
    device.type = tarfile.CHRTYPE
    setuid = tarfile.TarInfo("setuid")
    setuid.mode = 0o4755
    _archive(archive, [(link, b""), (inner, b""), (hard, b""), (device, b""), (setuid, b"x")])
    unpack(archive, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["link", "setuid"]
    assert list(outside.iterdir()) == []
    assert (folder / "setuid").stat().st_mode & 0o7777 == 0o755


def test_an_archive_gives_back_what_was_packed(tmp_path: Path) -> None:
    """Names of any letters, empty files, and dates to the nanosecond, by which changes are seen."""
    source, target, archive = tmp_path / "source", tmp_path / "target", tmp_path / "archive"
    target.mkdir()
    names = ["ä/ö ü.txt", "empty", "x" * 200]
    _write(source, {name: name for name in names})
    (source / "empty").write_text("")
    pack(archive, source, sorted(names))
    assert unpack(archive, target) == 3
    for name in names:
        assert (target / name).read_bytes() == (source / name).read_bytes()
        assert (target / name).stat().st_mtime_ns == (source / name).stat().st_mtime_ns


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (
            (
                "type: io.kestra.plugin.core.flow.WorkingDirectory, "
                "tasks: [{id: x, type: io.kestra.plugin.core.debug.Return}]"
            ),
            "has a directory of its own",
        ),
        ("type: io.kestra.plugin.core.debug.Return, workerGroup: {key: gpu}", "cannot have a `workerGroup`"),
    ],
)
def test_what_cannot_share_a_directory_is_a_violation(inside: str, message: str) -> None:
    """FLO-23: one worker runs it all, in one directory; also deep inside."""
    source = f"""
        id: f
        namespace: company.team
        tasks:
          - id: dir
            type: io.kestra.plugin.core.flow.WorkingDirectory
            tasks:
              - id: both
                type: io.kestra.plugin.core.flow.Parallel
                tasks: [{{id: inner, {inside}}}]
        """
    with pytest.raises(FlowInvalid, match=message):
        parse_flow(source, REGISTRY).valid()
