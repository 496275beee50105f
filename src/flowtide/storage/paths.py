"""The URIs of stored files and the paths behind them: the one place where a tenant enters a path.

A URI is `kestra:///{path}` and never names a tenant (FIL-01, STOR-11); the path below the storage's base is
`{tenant}/{path}`.  What could leave the tenant's folder is refused here, before any backend sees it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from flowtide.errors import FileForbidden, StorageUriInvalid

SCHEME = "kestra"
URI_PATTERN = re.compile(r"kestra:///[-a-zA-Z0-9%._+~#=/]*")
"""Finds URIs in running text, such as the commands of a script (S31)."""

_PREFIX = "kestra:///"
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_HIDDEN_SEPARATOR = re.compile(r"%(2f|5c|00)", re.IGNORECASE)
_HOME = re.compile(r"(?P<home>.+?)/(?P<part>executions|_cache|_kv|_files|_file_revisions)(?:/|$)")
_EXECUTION = re.compile(r"(?P<home>.+)/executions/(?P<execution>[^/]+)/.+")


class ExecutionFolder(NamedTuple):
    """The execution that a file belongs to, with its flow."""

    namespace: str
    flow_id: str
    execution_id: str


def task_run_file(folder: ExecutionFolder, *, task_id: str, run_id: str, name: str) -> str:
    """The URI of a file that a task run made; `name` may have folders.  Raises StorageUriInvalid."""
    return _uri(f"{_home(folder)}/tasks/{task_id}/{run_id}/{name}")


def input_file(folder: ExecutionFolder, *, input_id: str, name: str) -> str:
    """The URI of a FILE input of an execution.  Raises StorageUriInvalid."""
    return _uri(f"{_home(folder)}/inputs/{input_id}/{name}")


def trigger_file(folder: ExecutionFolder, *, trigger_id: str, name: str) -> str:
    """The URI of a file that a trigger made for the execution that it starts.  Raises StorageUriInvalid."""
    return _uri(f"{_home(folder)}/trigger/{trigger_id}/{name}")


def task_cache_file(namespace: str, flow_id: str, *, task_id: str, name: str) -> str:
    """The URI of a file that is kept for later executions of a task.  Raises StorageUriInvalid.

    It is none of an execution's, so that no task is given it to read (FIL-04).
    """
    return _uri(f"{namespace.replace('.', '/')}/{flow_id}/_cache/{task_id}/{name}")


def execution_files(folder: ExecutionFolder) -> str:
    """The URI under which all files of an execution stand."""
    return _uri(_home(folder))


def _home(folder: ExecutionFolder) -> str:
    return f"{folder.namespace.replace('.', '/')}/{folder.flow_id}/executions/{folder.execution_id}"


def _uri(path: str) -> str:
    checked_path(path)
    return _PREFIX + quote(path, safe="/-._~+=")


def stored_path(tenant_id: str, uri: str) -> str:
    """The path below the storage's base.

    Raises StorageUriInvalid for what is no URI of a stored file, or one that would leave the tenant's folder.
    """
    return f"{tenant_folder(tenant_id)}/{path_of(uri)}"


def tenant_folder(tenant_id: str) -> str:
    """The folder below the storage's base that has all files of a tenant.  Raises StorageUriInvalid."""
    if _TENANT.fullmatch(tenant_id) is None:
        raise StorageUriInvalid(f"{tenant_id!r} is not the id of a tenant")
    return tenant_id


def path_of(uri: str) -> str:
    """The path that a URI names within its tenant.  Raises StorageUriInvalid."""
    if not uri.startswith(_PREFIX):
        raise StorageUriInvalid(
            f"{uri[:200]!r} is not the URI of a stored file; it must begin with {_PREFIX}"
        )
    encoded = uri[len(_PREFIX) :]
    # A separator that hides in an escape would give the path another shape after decoding than it has now.
    if _HIDDEN_SEPARATOR.search(encoded):
        raise StorageUriInvalid(f"{uri[:200]!r} hides a path separator or a NUL in an escape")
    try:
        path = unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise StorageUriInvalid(f"{uri[:200]!r} is not UTF-8 once its escapes are read") from None
    return checked_path(path)


def checked_path(path: str) -> str:
    """Insist on a relative path of plain names.  Raises StorageUriInvalid."""
    shown = repr(path[:200])
    if "\0" in path or "\\" in path:
        raise StorageUriInvalid(f"the path {shown} has a NUL or a backslash")
    if not path:
        raise StorageUriInvalid("the URI names no file")
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            raise StorageUriInvalid(
                f"the path {shown} must be relative, without `.`, `..` and empty names between its slashes"
            )
    return path


def folder_of(uri: str) -> tuple[str, str] | None:
    """The home (namespace and flow as a path) and the id of the execution that owns a file; None: no execution's."""
    match = _EXECUTION.fullmatch(path_of(uri))
    return None if match is None else (match["home"], match["execution"])


def check_readable(uri: str, *, folder: ExecutionFolder, ancestors: Collection[str] = ()) -> None:
    """Insist that an execution may read a file: its own, or one of the executions it descends from (FIL-04).

    Raises FileForbidden otherwise, StorageUriInvalid for what is no URI.
    """
    owner = folder_of(uri)
    if owner is not None:
        home, execution_id = owner
        if execution_id in ancestors:
            return
        if (
            execution_id == folder.execution_id
            and home == f"{folder.namespace.replace('.', '/')}/{folder.flow_id}"
        ):
            return
    raise FileForbidden(
        f"the file {uri[:300]} does not belong to this execution or to one that started it; "
        "pass it on as an input of type FILE, or store a copy"
    )


def key_value_file(namespace: str, key: str, identifier: str) -> str:
    """The URI of a large value of the key-value store; `identifier` is another one for each write."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", key)[:60].strip("-") or "value"
    return _uri(f"{namespace.replace('.', '/')}/_kv/{readable}-{identifier}.json")


def namespace_file(namespace: str, path: str) -> str:
    """The URI by which flows name a file of a namespace; `path` may begin with a slash.  Raises StorageUriInvalid."""
    return _uri(f"{namespace.replace('.', '/')}/_files/{path.removeprefix('/')}")


def namespace_file_content(namespace: str, path: str, identifier: str) -> str:
    """The URI under which one revision of a namespace file is stored; `identifier` is another one for each."""
    return _uri(f"{namespace.replace('.', '/')}/_file_revisions/{path.removeprefix('/')}/{identifier}")


def named_namespace_file(uri: str) -> tuple[str, str] | None:
    """The namespace and path (with a leading slash) that a URI of `namespace_file` names; None for any other one."""
    home, found, path = path_of(uri).partition("/_files/")
    if not found or not home or "/executions/" in f"{home}/":
        return None
    return home.replace("/", "."), f"/{path}"


def namespace_of(path: str) -> str | None:
    """The namespace whose file a path names, or whose folder; None for what belongs to none, such as backups."""
    match = _HOME.match(path)
    if match is None:
        return None
    home = match["home"]
    if match["part"] in ("executions", "_cache"):
        home, slash, _ = home.rpartition("/")
        if not slash:
            return None
    return home.replace("/", ".")
