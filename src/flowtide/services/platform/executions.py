"""What tasks see of executions: their documents and error lines in the index, and a way to command them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from flowtide.index.port import Index
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Log, Message
from flowtide.model.commands import ExecutionCommand
from flowtide.model.entries import Level
from flowtide.model.records import encode

_MOST_LINES: Final = 1_000


class TenantExecutions:
    """`flowtide.model.platform.Executions` of one tenant; `index` opens the index when it is first asked."""

    def __init__(self, *, tenant: str, log: Log, index: Callable[[], Awaitable[Index]]) -> None:
        self._tenant = tenant
        self._log = log
        self._index = index

    async def send(self, execution_id: str, command: ExecutionCommand) -> None:
        """See Executions."""
        key = str(ExecutionKey(self._tenant, execution_id))
        await self._log.append([Message(topic="execution_commands", key=key, value=encode(command))])

    async def find(self, execution_id: str) -> Mapping[str, Any] | None:
        """See Executions."""
        found = await (await self._index()).get("executions", self._tenant, execution_id)
        return None if found is None else found.document

    async def error_logs(self, execution_id: str) -> Sequence[Mapping[str, Any]]:
        """See Executions."""
        found = await (await self._index()).logs(
            self._tenant, execution_id, minimum_level=Level.ERROR, size=_MOST_LINES
        )
        return [line.document for line in found.results]
