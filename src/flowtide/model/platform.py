"""What a running task may reach of the installation around it: key-value pairs, namespace files, executions.

The ports that workers hand to tasks, and that the API's handlers use too; each is bound to one tenant by whoever hands
it out, so that no caller can name another one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from flowtide.model.commands import ExecutionCommand
from flowtide.model.entries import Level
from flowtide.model.outbound import OutboundRules
from flowtide.model.records import Value
from flowtide.model.states import State


class ValueType(StrEnum):
    """What a value of the key-value store is (KVS-02)."""

    STRING = "STRING"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    DATETIME = "DATETIME"
    DATE = "DATE"
    DURATION = "DURATION"
    JSON = "JSON"


class KeyValue(Value, frozen=True):
    """A pair of the key-value store without its value (page 061)."""

    namespace: str
    key: str
    type: ValueType
    revision: int
    created: datetime
    updated: datetime
    expires: datetime | None = None  # not readable from then on (KVS-03)
    description: str | None = None


class KeyValues(Protocol):
    """The key-value store of a tenant.  A read shows every write that was answered before, on any server."""

    async def find(self, namespace: str, key: str) -> tuple[KeyValue, Any] | None:
        """A pair and its value, typed; None when there is none or it expired."""
        ...

    async def list(self, namespace: str, prefix: str = "") -> Sequence[KeyValue]:
        """The pairs of a namespace that are not expired, by key."""
        ...

    async def set(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        type: ValueType | None = None,  # noqa: A002 - the word of the field
        ttl: timedelta | None = None,
        description: str | None = None,
        overwrite: bool = True,
        by: str | None = None,
    ) -> KeyValue:
        """Write a pair; without `type` it follows from the value.

        Raises ResourceConflict when it exists and may not be overwritten, ValueInvalid for a bad key or a value that
        is not of the type.
        """
        ...

    async def all(self) -> Sequence[KeyValue]:
        """The pairs of all namespaces that are not expired, by namespace and key."""
        ...

    async def delete(self, namespace: str, key: str, *, by: str | None = None) -> bool:
        """Remove a pair; whether there was one."""
        ...

    async def purge(self, namespaces: Sequence[str] | None, *, children: bool, expired_only: bool) -> int:
        """Remove pairs for good, of all namespaces when none are named; gives how many."""
        ...


class NamespaceFile(Value, frozen=True):
    """A file of a namespace (page 062)."""

    namespace: str
    path: str  # with a leading slash
    size: int  # bytes
    revision: int  # of the content, from 1; revisions before it can be read too; 0: it is a folder
    updated: datetime
    created: datetime

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, which has no content."""
        return self.revision == 0


class NamespaceFiles(Protocol):
    """The files of a tenant's namespaces.  A read shows every write that was answered before, on any server."""

    async def list(self, namespace: str, under: str = "/") -> Sequence[NamespaceFile]:
        """All files of a namespace below a folder, by path."""
        ...

    async def find(self, namespace: str, path: str) -> NamespaceFile | None:
        """One file or folder, or None."""
        ...

    async def children(self, namespace: str, folder: str = "/") -> Sequence[NamespaceFile]:
        """What stands in a folder itself, folders among it, by path."""
        ...

    async def revisions(self, namespace: str, path: str) -> Sequence[int]:
        """The revisions of a file that can still be read, ascending; none when there is no such file."""
        ...

    async def make_folder(self, namespace: str, path: str, *, by: str | None = None) -> None:
        """Have a folder, and those above it.  Raises ResourceConflict where a file bars the way."""
        ...

    async def move(self, namespace: str, path: str, to: str, *, by: str | None = None) -> None:
        """Give a file, or a folder with all below it, another path; revisions go with it.

        Raises FileMissing when there is no such thing, ResourceConflict when something is at `to` already.
        """
        ...

    async def read(self, namespace: str, path: str, *, revision: int | None = None) -> bytes:
        """Its content.  Raises FileMissing when there is no such file or revision.

        `name.v2` reads revision 2 of `name`, unless there is a file of that very name (NSF-06).
        """
        ...

    async def fetch(self, namespace: str, path: str, to: Path, *, revision: int | None = None) -> None:
        """Write its content to a local file.  Raises as `read`."""
        ...

    async def put(
        self, namespace: str, path: str, content: bytes | Path | BinaryIO, *, by: str | None = None
    ) -> NamespaceFile:
        """Write a file, and the folders above it; an older content stays readable as its revision.

        Raises ResourceConflict where a folder has that path, or a file bars the way to it; ValueInvalid for what
        is no path.
        """
        ...

    async def delete(self, namespace: str, path: str, *, by: str | None = None) -> bool:
        """Remove a file with all revisions, or a folder with all below it; whether there was one."""
        ...

    async def purge(
        self,
        namespaces: Sequence[str] | None,
        *,
        children: bool,
        pattern: str | None = None,
        before: datetime | None = None,
        keep: int | None = None,
    ) -> int:
        """Remove old revisions: those from before a moment, or all but the newest `keep`; gives how many."""
        ...


class Executions(Protocol):
    """The executions of a tenant, as the index shows them, and commands to them."""

    async def send(self, execution_id: str, command: ExecutionCommand) -> None:
        """Hand a command to the executors; it is durable when this returns."""
        ...

    async def find(self, execution_id: str) -> Mapping[str, Any] | None:
        """An execution's document, or None."""
        ...

    async def error_logs(self, execution_id: str) -> Sequence[Mapping[str, Any]]:
        """The log lines at ERROR of an execution that the index has by now, the oldest first."""
        ...


class ExecutionSelection(Value, frozen=True):
    """Which executions: by flow, end states and the date of their start."""

    namespace: str | None = None
    flow_id: str | None = None  # None: all flows of the namespace and of those below it
    states: Sequence[State] = ()  # none: any state
    begins: datetime | None = None  # started at or after
    ends: datetime | None = None  # started before
    execution_id: str | None = None
    execution_ids: Sequence[str] = ()  # none: any


class LogSelection(Value, frozen=True):
    """Which log lines, of executions and of triggers."""

    namespace: str | None = None
    flow_id: str | None = None  # None: all flows of the namespace and of those below it
    execution_id: str | None = None
    task_ids: Sequence[str] = ()
    levels: Sequence[Level] = ()  # none: all
    begins: datetime | None = None  # at or after
    ends: datetime | None = None  # before


class Purged(Value, frozen=True):
    """How much was removed."""

    executions: int = 0
    logs: int = 0
    metrics: int = 0
    files: int = 0


class AuditSelection(Value, frozen=True):
    """Which audit entries; what is None or empty does not limit them."""

    namespace: str | None = None  # with those below it
    resources: list[str] = []
    actions: list[str] = []
    begins: datetime | None = None
    ends: datetime | None = None


class Records(Protocol):
    """What a tenant's executions left behind in the index and in storage, in bulk."""

    async def count(self, selection: ExecutionSelection) -> int:
        """How many executions match."""
        ...

    def logs(self, selection: LogSelection) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """The log lines that match, by time, in portions."""
        ...

    async def purge_executions(
        self,
        selection: ExecutionSelection,
        *,
        executions: bool,
        logs: bool,
        metrics: bool,
        files: bool,
        batch: int,
    ) -> Purged:
        """Remove what is left of executions that are over, `batch` of them at a time."""
        ...

    async def purge_logs(self, selection: LogSelection) -> int:
        """Remove log lines; gives how many."""
        ...

    async def purge_audit_logs(self, selection: AuditSelection) -> int:
        """Remove audit entries; gives how many."""
        ...

    async def switch_trigger(
        self, namespace: str, flow_id: str, trigger_id: str, *, disabled: bool, by: str | None = None
    ) -> None:
        """Have a trigger switched off or on."""
        ...


class Platform(Protocol):
    """All of it, for one tenant."""

    @property
    def key_values(self) -> KeyValues: ...

    @property
    def files(self) -> NamespaceFiles: ...

    @property
    def executions(self) -> Executions: ...

    @property
    def records(self) -> Records: ...

    @property
    def outbound(self) -> OutboundRules:
        """Where requests may go."""
        ...
