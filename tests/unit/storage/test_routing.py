"""Which storage a file goes to: by the namespace in its URI, and the same for a file and for its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flowtide.errors import StorageMisconfigured
from flowtide.storage import (
    ExecutionFolder,
    RoutedStorage,
    check_storage,
    execution_files,
    input_file,
    key_value_file,
    namespace_file_content,
    open_blocking,
    task_cache_file,
    task_run_file,
    trigger_file,
)
from flowtide.storage.paths import namespace_of, path_of

FOLDER = ExecutionFolder("a.b", "flow", "4bOyRXzAWrWdtJjtQdSkWZ")


@pytest.mark.parametrize(
    "uri",
    [
        task_run_file(FOLDER, task_id="t", run_id="r", name="executions/x"),
        input_file(FOLDER, input_id="i", name="n"),
        trigger_file(FOLDER, trigger_id="t", name="n"),
        execution_files(FOLDER),
        task_cache_file("a.b", "flow", task_id="t", name="n"),
        key_value_file("a.b", "key", "1"),
        namespace_file_content("a.b", "/folder/file", "1"),
    ],
)
def test_every_uri_tells_its_namespace(uri: str) -> None:
    """Whatever a namespace has stands in the storage of that namespace."""
    assert namespace_of(path_of(uri)) == "a.b"


def test_what_is_of_no_namespace() -> None:
    """Backups and what else is of none."""
    assert namespace_of("backups/full/backup-1.kestra") is None
    assert namespace_of("flow/executions/1") is None


def test_files_go_where_the_callback_says(tmp_path: Path) -> None:
    """Each call asks again; a folder is deleted where its files are; backups stay with the instance."""
    chosen: dict[tuple[str, str | None], Path] = {("red", "a.b"): tmp_path / "red"}

    def choose(tenant: str, namespace: str | None) -> tuple[str, Mapping[str, Any]] | None:
        folder = chosen.get((tenant, namespace))
        return None if folder is None else ("local", {"local": {"basePath": str(folder)}})

    storage = RoutedStorage(open_blocking("local", {"base-path": str(tmp_path / "instance")}), choose)
    uri, home = input_file(FOLDER, input_id="i", name="n"), execution_files(FOLDER)
    assert storage.put("red", uri, b"1") == storage.put("blue", uri, b"2") == 1
    assert [path.relative_to(tmp_path).parts[:2] for path in sorted(tmp_path.rglob("n"))] == [
        ("instance", "blue"),
        ("red", "red"),
    ]
    assert (storage.get("red", uri), storage.size("red", uri), storage.exists("red", uri)) == (b"1", 1, True)
    assert list(storage.list("red", home)) == [uri]
    assert storage.delete("red", home)
    assert not storage.exists("red", uri)
    assert storage.get("blue", uri) == b"2"
    chosen["blue", None] = tmp_path / "elsewhere"
    storage.put("blue", "kestra:///backups/tenant/backup-1.kestra", b"3")
    assert not (tmp_path / "elsewhere").exists()
    assert storage.delete_tenant("blue")
    assert not storage.delete_tenant("blue")
    assert not storage.exists("blue", uri)


def test_a_storage_that_cannot_be_opened_is_told() -> None:
    """As the settings of the instance are."""
    with pytest.raises(StorageMisconfigured, match="base-path"):
        check_storage("local", {})
