"""Files by tenant and URI, on a disk and in fsspec's memory."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from flowtide.errors import (
    FileForbidden,
    FileMissing,
    StorageError,
    StorageMisconfigured,
    StorageUnavailable,
    StorageUriInvalid,
)
from flowtide.storage import (
    BlockingStorage,
    ExecutionFolder,
    Storage,
    check_readable,
    execution_files,
    input_file,
    open_storage,
    task_run_file,
)
from flowtide.storage.paths import stored_path

FOLDER = ExecutionFolder("company.team", "f", "e1")


@pytest.fixture(params=["local", "memory"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "local":
        storage = open_storage("local", {"basePath": str(tmp_path)})
    else:
        storage = Storage(BlockingStorage(MemoryFileSystem(), f"/{tmp_path.name}"))
    yield storage
    await storage.close()


def _uri(name: str, *, run: str = "r") -> str:
    return task_run_file(FOLDER, task_id="t", run_id=run, name=name)


async def test_what_is_stored_is_read_back(storage: Storage, tmp_path: Path) -> None:
    """Bytes, local files and streams are stored and replaced; names may have folders and any letters."""
    uri = _uri("a b/ü#%.txt")
    assert uri == "kestra:///company/team/f/executions/e1/tasks/t/r/a%20b/%C3%BC%23%25.txt"
    assert await storage.put("main", uri, b"one") == 3
    assert await storage.get("main", uri) == b"one"
    source = tmp_path / "source"
    source.write_bytes(b"two!")
    assert await storage.put("main", uri, source) == 4
    assert await storage.put("main", uri, io.BytesIO(b"three")) == 5
    assert await storage.size("main", uri) == 5
    target = tmp_path / "target"
    await storage.fetch("main", uri, target)
    assert target.read_bytes() == b"three"
    assert b"".join([chunk async for chunk in storage.stream("main", uri)]) == b"three"


async def test_a_missing_file_is_named(storage: Storage) -> None:
    """Reading what is not there says so; deleting it is no error."""
    with pytest.raises(FileMissing, match="there is no file kestra:///"):
        await storage.get("main", _uri("none"))
    with pytest.raises(FileMissing):
        await storage.size("main", _uri("none"))
    assert not await storage.exists("main", _uri("none"))
    assert not await storage.delete("main", _uri("none"))
    assert await storage.list("main", _uri("none")) == {}


async def test_a_limit_holds(storage: Storage) -> None:
    """A file beyond the limit is not read into memory."""
    await storage.put("main", _uri("a"), b"12345")
    assert await storage.get("main", _uri("a"), maximum=5) == b"12345"
    with pytest.raises(StorageError, match="more than the 4 bytes"):
        await storage.get("main", _uri("a"), maximum=4)


async def test_tenants_never_meet(storage: Storage) -> None:
    """The same URI is another file for another tenant."""
    await storage.put("main", _uri("a"), b"mine")
    assert not await storage.exists("other", _uri("a"))


async def test_the_files_of_an_execution_are_listed_and_removed(storage: Storage) -> None:
    """A folder lists with sizes, and is deleted whole."""
    await storage.put("main", _uri("a b"), b"1")
    await storage.put("main", _uri("c/d", run="r2"), b"22")
    await storage.put("main", input_file(FOLDER, input_id="i", name="x"), b"333")
    found = await storage.list("main", execution_files(FOLDER))
    assert found == {
        input_file(FOLDER, input_id="i", name="x"): 3,
        _uri("a b"): 1,
        _uri("c/d", run="r2"): 2,
    }
    assert await storage.delete("main", execution_files(FOLDER))
    assert await storage.list("main", execution_files(FOLDER)) == {}


@pytest.mark.parametrize(
    "uri",
    [
        "kestra:///../other/x",
        "kestra:///a/../../other/x",
        "kestra:///a/%2e%2e/%2e%2e/other",
        "kestra:///a/..%2f..%2fother",
        "kestra:///a%5c..%5cother",
        "kestra:///a\\..\\other",
        "kestra:///a\0b",
        "kestra:///a%00b",
        "kestra:////etc/passwd",
        "kestra:///a//b",
        "kestra:///./a",
        "kestra://other/a",
        "kestra:///",
        "file:///etc/passwd",
        "/etc/passwd",
        "",
        "kestra:///%ff",
    ],
)
def test_what_would_leave_the_tenant_is_refused(uri: str) -> None:
    """Traversal in any spelling, other authorities and other schemes."""
    with pytest.raises(StorageUriInvalid):
        stored_path("main", uri)


@pytest.mark.parametrize("tenant", ["", "..", "a/b", ".hidden", "a\0"])
def test_what_is_no_tenant_is_refused(tenant: str) -> None:
    """A tenant's id cannot be a path."""
    with pytest.raises(StorageUriInvalid):
        stored_path(tenant, "kestra:///a")


def test_an_escape_is_read_once() -> None:
    """A name that looks escaped after decoding is only a name."""
    assert stored_path("main", "kestra:///%252e%252e/a") == "main/%2e%2e/a"


@pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "", "a\\b"])
def test_names_that_leave_the_run_are_refused(name: str) -> None:
    """A file of a task run stays under it."""
    with pytest.raises(StorageUriInvalid):
        _uri(name)


def test_an_execution_reads_its_own_files_and_those_of_its_ancestors() -> None:
    """FIL-04: its own, its parent's; nobody else's, and nothing that only looks like its own."""
    check_readable(_uri("a"), folder=FOLDER)
    parents = task_run_file(ExecutionFolder("other", "p", "e0"), task_id="t", run_id="r", name="a")
    with pytest.raises(FileForbidden):
        check_readable(parents, folder=FOLDER)
    check_readable(parents, folder=FOLDER, ancestors=["e0"])
    for foreign in ("kestra:///company/team/g/executions/e1/tasks/t/r/a", "kestra:///company/team/_files/a"):
        with pytest.raises(FileForbidden):
            check_readable(foreign, folder=FOLDER)


def test_a_disk_that_refuses_is_explained(tmp_path: Path) -> None:
    """A full or read-only storage gives a sentence with the reason, and leaves no half file."""
    (tmp_path / "main").write_bytes(b"a file where a folder must be")
    storage = open_storage("local", {"base-path": str(tmp_path)}).blocking

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(28, "No space left on device")

    with pytest.raises((StorageUnavailable, FileMissing)):
        storage.put("main", _uri("a"), b"x")
    with pytest.raises(StorageUnavailable, match="No space left on device"):
        storage.put("other", _uri("a"), Broken())
    assert [path for path in (tmp_path / "other").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("tape", {}, "choose one of azure, gcs, local, minio, s3"),
        ("local", {}, "storage.local.base-path must be set"),
        ("local", {"base-path": "/x", "colour": "red"}, "storage.local.colour"),
        ("s3", {"bucket": "b"}, r"pip install 'flowtide\[s3\]'"),
        ("minio", {"bucket": "b", "endpoint": "http://minio"}, r"pip install 'flowtide\[s3\]'"),
        ("gcs", {"bucket": "b"}, r"pip install 'flowtide\[gcs\]'"),
        ("azure", {"container": "c"}, "exactly one of"),
        ("azure", {"container": "c", "connection-string": "x"}, r"pip install 'flowtide\[azure\]'"),
    ],
)
def test_settings_that_are_wrong_say_what_to_do(
    kind: str, options: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown kinds and options, missing ones, and packages that are not installed."""

    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr("flowtide.storage.backends.import_module", absent)
    with pytest.raises(StorageMisconfigured, match=message):
        open_storage(kind, options)
