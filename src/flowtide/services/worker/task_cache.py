"""`taskCache`: what a task gave before is used instead of running it again (CAC-04, decision 0027).

In comes a task with all that decides its result: tenant, namespace, flow, its id and its properties as rendered now.
Their hash names a file beside the flow's other caches; in it are state, outputs and the date.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from flowtide.errors import FlowtideError
from flowtide.expressions import truthy
from flowtide.model.records import encode, format_date
from flowtide.model.states import State
from flowtide.services.worker.context import TaskContext
from flowtide.services.worker.preparation import PreparedTask
from flowtide.storage import Storage, task_run_file

_DECIDED_ELSEWHERE: Final = frozenset(
    {
        "allowFailure",
        "allowWarning",
        "description",
        "disabled",
        "logLevel",
        "logToFile",
        "retry",
        "runIf",
        "taskCache",
        "timeout",
        "workerGroup",
    }
)
"""Properties that change when or where a task runs, and not what it gives."""

_OF_THE_ATTEMPT: Final = ("workingDir", "outputDir")
"""Variables that differ with each attempt, and whose value no result should depend on."""

_FILE: Final = re.compile(r"kestra:///.+/executions/[^/]+/(?:tasks/[^/]+/[^/]+/)?(?P<name>.+)")


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """What a task gave."""

    state: State
    outputs: dict[str, Any]
    saved: datetime


_DECODER: Final = msgspec.json.Decoder(Cached)


class TaskCacheEntry:
    """The place of one task with its properties of now.  Nothing is raised: a cache that fails is no cache."""

    def __init__(self, context: TaskContext, prepared: PreparedTask, storage: Storage) -> None:
        self._context = context
        self._prepared = prepared
        self._storage = storage
        self._name: str | None = None

    async def find(self, ttl: timedelta | None) -> Cached | None:
        """What the task gave before, at most `ttl` ago, with its files made this execution's own; None: run it."""
        context = self._context
        try:
            self._name = f"task/{await self._key()}.json"
            content = await context.kept(self._name)
            if content is None:
                return None
            cached = _DECODER.decode(content)
            if ttl is not None and context.now() - cached.saved >= ttl:
                return None
            own = await self._with_own_files(cached.outputs)
        except msgspec.DecodeError:
            return None  # of another version, or damaged; it is written anew
        except FlowtideError as error:
            context.warn("The cache of this task is not used: {}", error.message)
            return None
        if own is None:
            return None
        date = format_date(cached.saved)
        context.info("The task did not run: its outputs of {} are taken from the cache", date)
        return msgspec.structs.replace(cached, outputs=own)

    async def keep(self, state: State, outputs: dict[str, Any]) -> None:
        """Note what the task gave, unless it failed."""
        if self._name is None or state not in (State.SUCCESS, State.WARNING):
            return
        context = self._context
        try:
            content = encode(Cached(state=state, outputs=outputs, saved=context.now()))
        except (TypeError, ValueError, OverflowError, RecursionError):
            return  # the attempt says so itself
        try:
            await context.keep(self._name, content)
        except FlowtideError as error:
            context.warn("The outputs could not be kept in the cache: {}", error.message)

    async def _key(self) -> str:
        context = self._context
        properties = {
            name: value for name, value in self._prepared.document.items() if name not in _DECIDED_ELSEWHERE
        }
        variables = context.variables
        before: dict[str, Any] = {name: variables[name] for name in _OF_THE_ATTEMPT if name in variables}
        variables.update({name: f"/{name}" for name in _OF_THE_ATTEMPT})
        try:
            rendered = await context.evaluate(properties, typed=False)
            mounted = await self._namespace_files(properties.get("namespaceFiles"))
        finally:
            for name in _OF_THE_ATTEMPT:
                variables.pop(name, None)
            variables.update(before)
        place = [context.tenant_id, context.namespace, context.flow_id, context.task_id]
        content = msgspec.json.encode([place, rendered, mounted], order="deterministic")
        return hashlib.sha256(content).hexdigest()

    async def _namespace_files(self, definition: Any) -> list[Any]:
        """The files that may be mounted, each with its revision, so that a changed file is a changed task."""
        context = self._context
        if not isinstance(definition, dict) or not truthy(
            await context.evaluate(definition.get("enabled", True))
        ):
            return []
        named = await context.evaluate(definition.get("namespaces") or [])
        found = []
        for namespace in [named] if isinstance(named, str) else (named or [context.namespace]):
            files = await context.platform.files.list(str(namespace))
            found += [[file.namespace, file.path, file.revision, format_date(file.updated)] for file in files]
        return found

    async def _with_own_files(self, outputs: dict[str, Any]) -> dict[str, Any] | None:
        """The outputs with copies of their files; None when one is gone, because its execution was purged."""
        copies: dict[str, str] = {}
        context = self._context
        for uri in set(_uris(outputs)):
            match = _FILE.fullmatch(uri)
            if match is None:
                continue
            if not await self._storage.exists(context.tenant_id, uri):
                return None
            copies[uri] = task_run_file(
                context.folder, task_id=context.task_id, run_id=context.task_run_id, name=match["name"]
            )
        for uri, copy in copies.items():
            await asyncio.to_thread(self._copy, uri, copy)
        replaced = _replaced(outputs, copies)
        assert isinstance(replaced, dict)
        return replaced

    def _copy(self, uri: str, copy: str) -> None:
        blocking, tenant_id = self._storage.blocking, self._context.tenant_id
        with blocking.opened(tenant_id, uri) as source:
            blocking.put(tenant_id, copy, source)


def _uris(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("kestra:///"):
            yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from _uris(child)
    elif isinstance(value, list):
        for child in value:
            yield from _uris(child)


def _replaced(value: Any, copies: dict[str, str]) -> Any:
    if isinstance(value, str):
        return copies.get(value, value)
    if isinstance(value, dict):
        return {key: _replaced(child, copies) for key, child in value.items()}
    if isinstance(value, list):
        return [_replaced(child, copies) for child in value]
    return value
