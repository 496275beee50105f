"""What executions left behind, in bulk: counted and read from the index, removed from the index and from storage.

Whatever is removed is gone at once; a record without a value on `execution_events` says so to an index that is written
anew from the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flowtide.index.port import Index
from flowtide.index.queries import AllOf, Filter, Match, Operation, Query, Sort
from flowtide.log.keys import ExecutionKey, TriggerKey
from flowtide.log.port import Log, Message
from flowtide.model.platform import AuditSelection, ExecutionSelection, LogSelection, Purged
from flowtide.model.records import encode
from flowtide.model.states import TERMINAL
from flowtide.model.trigger_records import SetTriggerDisabled
from flowtide.storage import ExecutionFolder, Storage, execution_files

_LINES_AT_ONCE = 1_000
_OF_EXECUTION = ("task_runs", "events")


class TenantRecords:
    """`flowtide.model.platform.Records` of one tenant; `index` opens the index when it is first asked."""

    def __init__(
        self,
        *,
        tenant: str,
        log: Log,
        storage: Storage,
        index: Callable[[], Awaitable[Index]],
        clock: Callable[[], datetime],
    ) -> None:
        self._tenant = tenant
        self._log = log
        self._storage = storage
        self._index = index
        self._clock = clock

    async def count(self, selection: ExecutionSelection) -> int:
        """See Records."""
        return await (await self._index()).count(self._tenant, "executions", _of_executions(selection))

    async def logs(self, selection: LogSelection) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """See Records."""
        index = await self._index()
        after: str | None = None
        while True:
            query = Query(
                kind="logs",
                filter=_of_logs(selection),
                sort=(Sort("timestamp"),),
                size=_LINES_AT_ONCE,
                after=after,
                count=False,
            )
            page = await index.search(self._tenant, query)
            if page.results:
                yield [found.document for found in page.results]
            after = page.next
            if after is None:
                return

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
        """See Records.  Executions that are not over stay, whatever was asked."""
        index = await self._index()
        over = Match("state", Operation.IN, [state.value for state in TERMINAL])
        removed = Purged()
        async for found in index.scan(
            self._tenant, "executions", AllOf((_of_executions(selection), over)), size=batch
        ):
            ids = [one.id for one in found]
            named = Match("executionId", Operation.IN, ids)
            gone_files = 0
            if files:
                for one in found:
                    gone_files += await self._remove_files(one.document)
            removed = Purged(
                executions=removed.executions + (len(ids) if executions else 0),
                logs=removed.logs + (await index.delete(self._tenant, "logs", named) if logs else 0),
                metrics=removed.metrics
                + (await index.delete(self._tenant, "metrics", named) if metrics else 0),
                files=removed.files + gone_files,
            )
            if executions:
                await self._log.append(
                    [
                        Message(
                            topic="execution_events",
                            key=str(ExecutionKey(self._tenant, identifier)),
                            value=None,
                        )
                        for identifier in ids
                    ]
                )
                await remove_documents(index, self._tenant, ids)
        return removed

    async def purge_logs(self, selection: LogSelection) -> int:
        """See Records."""
        return await (await self._index()).delete(self._tenant, "logs", _of_logs(selection))

    async def purge_audit_logs(self, selection: AuditSelection) -> int:
        """See Records."""
        parts = _of_flow(selection.namespace, None) + _between("date", selection.begins, selection.ends)
        for field, values in (("resource", selection.resources), ("action", selection.actions)):
            if values:
                parts.append(Match(field, Operation.IN, list(values)))
        return await (await self._index()).delete(self._tenant, "audit_logs", AllOf(tuple(parts)))

    async def switch_trigger(
        self, namespace: str, flow_id: str, trigger_id: str, *, disabled: bool, by: str | None = None
    ) -> None:
        """See Records."""
        command = SetTriggerDisabled(at=self._clock(), disabled=disabled, by=by)
        key = str(TriggerKey(self._tenant, namespace, flow_id, trigger_id))
        await self._log.append([Message(topic="trigger_commands", key=key, value=encode(command))])

    async def _remove_files(self, execution: Mapping[str, Any]) -> int:
        folder = execution_files(
            ExecutionFolder(execution["namespace"], execution["flowId"], execution["id"])
        )
        count = len(await self._storage.list(self._tenant, folder))
        if count:
            await self._storage.delete(self._tenant, folder)
        return count


async def remove_documents(index: Index, tenant: str, execution_ids: Sequence[str]) -> None:
    """Remove executions from the index with their task runs and events."""
    named = Match("executionId", Operation.IN, list(execution_ids))
    for kind in _OF_EXECUTION:
        await index.delete(tenant, kind, named)
    await index.delete(tenant, "executions", Match("id", Operation.IN, list(execution_ids)))


def _of_executions(selection: ExecutionSelection) -> Filter:
    parts = _of_flow(selection.namespace, selection.flow_id)
    if selection.execution_id is not None:
        parts.append(Match("id", Operation.EQUALS, selection.execution_id))
    if selection.execution_ids:
        parts.append(Match("id", Operation.IN, list(selection.execution_ids)))
    if selection.states:
        parts.append(Match("state", Operation.IN, [state.value for state in selection.states]))
    return AllOf((*parts, *_between("startDate", selection.begins, selection.ends)))


def _of_logs(selection: LogSelection) -> Filter:
    parts = _of_flow(selection.namespace, selection.flow_id)
    if selection.execution_id is not None:
        parts.append(Match("executionId", Operation.EQUALS, selection.execution_id))
    if selection.task_ids:
        parts.append(Match("taskId", Operation.IN, list(selection.task_ids)))
    if selection.levels:
        parts.append(Match("level", Operation.IN, [level.value for level in selection.levels]))
    return AllOf((*parts, *_between("timestamp", selection.begins, selection.ends)))


def _of_flow(namespace: str | None, flow_id: str | None) -> list[Filter]:
    parts: list[Filter] = []
    if namespace is not None:
        operation = Operation.EQUALS if flow_id is not None else Operation.PREFIX
        parts.append(Match("namespace", operation, namespace))
    if flow_id is not None:
        parts.append(Match("flowId", Operation.EQUALS, flow_id))
    return parts


def _between(field: str, begins: datetime | None, ends: datetime | None) -> list[Filter]:
    parts: list[Filter] = []
    if begins is not None:
        parts.append(Match(field, Operation.GREATER_THAN_OR_EQUAL_TO, begins))
    if ends is not None:
        parts.append(Match(field, Operation.LESS_THAN, ends))
    return parts
