"""Reading one's own writes: requests wait until what they read shows what their caller has just changed.

What is saved: before anything is decided, each request looks how far the log of saved things has come.  Executions and
what else stands in the index: only callers who changed something lately wait, for the partitions that it went to, and
not for longer than answers may take; the header BEHIND then says what may be missing (decision 0055).  State: none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final

import structlog
from aiohttp import web

from flowtide.api.access import PRINCIPAL
from flowtide.api.keys import AUDIT, INDEX, LIVE_VIEW, LOG, NAMED, OWN_WRITES, SITE, STARTED, TENANT
from flowtide.api.problems import Problem
from flowtide.api.route import PREFIX, Route
from flowtide.errors import IndexFailed, LogUnavailable
from flowtide.index.documents import Document
from flowtide.log.keys import ExecutionKey
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Log
from flowtide.processors.executions import GROUP as EXECUTOR
from flowtide.processors.triggers import GROUP as SCHEDULER
from flowtide.services.indexer import GROUP as INDEXER
from flowtide.services.own_writes import ANYBODY, Pending

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BEHIND: Final = "X-Flowtide-Behind"
"""The header of an answer that may not show what its caller has just changed: `log`, `index`, or both."""

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOK_SECONDS = (0.005, 0.01, 0.02, 0.05)
_READ_AT_ONCE = 2_000
_PATIENCE = timedelta(milliseconds=100)
_NEAR = 500  # so many offsets before the end it is read whether they are records, or marks of transactions
_BEHIND: web.RequestKey[set[str]] = web.RequestKey("behind")
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of the index: what must be decided before the records are on the log that it is made of."""

    topic: str
    decided: tuple[str, str] | None = None  # the group that decides, and the topic of its commands
    of_executions: bool = True  # whether the records are those of single executions


_PARTS: Final[Mapping[str, _Part]] = {
    "executions": _Part(topic="execution_events", decided=(EXECUTOR, "execution_commands")),
    "logs": _Part(topic="logs"),
    "metrics": _Part(topic="metrics"),
    "triggers": _Part(topic="trigger_events", decided=(SCHEDULER, "trigger_commands"), of_executions=False),
    "audit_logs": _Part(topic="audit_logs", of_executions=False),
}
_READ_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "executions": ("executions",),
    "outputs": ("executions",),
    "concurrency-limit": ("executions",),
    "logs": ("executions", "logs"),
    "metrics": ("executions", "metrics"),
    "triggers": ("triggers",),
    "auditlogs": ("audit_logs",),
    "dashboards": ("executions", "logs", "metrics", "triggers"),
    "instance": ("executions",),
}
"""The parts of the index that the routes read whose path begins so, after the tenant."""

_EXECUTION: Final = "/{tenant}/executions/{executionId}"
_FROM_INDEX: Final = ("/events", "/causes", "/file", "/graph")
_FIND: Final = ("/by-query", "/by-ids", "/by-triggers", "/latest", "/charts", "/find", "/export")
"""What the paths have that are no GET, and look for things in the index."""
_CHANGE_NOTHING: Final = (  # what is no GET, and changes nothing that a read could show
    "/validate", "/autocomplete", "/graph", "/find", "/export", "/preview", "/eval", "/test", "/search", "/charts",
    "/latest", "/expressions", "/hashes", "/resolve", "/render",
)  # fmt: skip  # reads better as a paragraph


# --- what is saved -----------------------------------------------------------------------------------------------


@web.middleware
async def fresh(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have everything here that was saved before the request came, on whichever webserver."""
    is_ours = request.rel_url.raw_path.startswith(request.app[SITE].context_path + PREFIX)
    if is_ours and not await request.app[OWN_WRITES].fresh():
        _say_behind(request, "log")
    return await handler(request)


# --- what is indexed ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def own_writes_seen(request: web.Request, route: Route) -> AsyncIterator[None]:
    """Within the block, what the route reads shows what its caller changed before."""
    key = _execution_of(request)
    if key is not None and not _reads_index(route.path):
        async with _live(request, key):
            yield
        return
    if request.method not in _SAFE and not any(word in route.path for word in _FIND):
        yield  # what creates or changes one thing looks for nothing
        return
    caller = _caller(request)
    named = "" if key is None else key.execution_id
    waits = [
        (part, pending)
        for part in _parts_of(route.path)
        if (pending := request.app[OWN_WRITES].pending(caller, part, named)) is not None
    ]
    if waits:
        await _wait(request, caller, waits, key)
    yield


async def note_own_write(request: web.Request, route: Route, answer: web.StreamResponse) -> None:
    """Tell all webservers what the caller has changed; to be awaited before the answer is sent."""
    path = route.path
    if request.method in _SAFE and not request.get(STARTED):
        return
    if answer.prepared or answer.status >= 400 or any(quiet in path for quiet in _CHANGE_NOTHING):
        return
    named = _changed_executions(request, path)
    if PRINCIPAL not in request and not named:
        return
    await request.app[AUDIT].written()
    await request.app[OWN_WRITES].note(_caller(request), named)


def _changed_executions(request: web.Request, path: str) -> list[str] | None:
    if not path.startswith(("/{tenant}/executions", "/{tenant}/logs")):
        return []
    if (
        "by-query" in path
        or "replay" in path
        or (IDEMPOTENCY_KEY in request.headers and PRINCIPAL in request)
    ):
        return None  # the last may be the answer to a request that another server carried out
    named = [*request.get(STARTED, ()), *request.get(NAMED, ())]
    if "executionId" in request.match_info:
        named.append(request.match_info["executionId"])
    return named


@asynccontextmanager
async def _live(request: web.Request, key: ExecutionKey) -> AsyncIterator[None]:
    """Within the block the live view has an execution that the caller changed through another webserver."""
    own, caller, part = request.app[OWN_WRITES], _caller(request), "live"
    pending = own.pending(caller, part, key.execution_id, foreign=True)
    if pending is not None and not (pending.executions is None or key.execution_id in pending.executions):
        pending = None
    if pending is None and not own.is_anonymous(*key):
        yield
        return
    patience = request.app[SITE].index_timeout.total_seconds()
    if pending is not None and own.is_overdue(caller, part, pending.upto):
        patience = 0.0
    deadline = asyncio.get_running_loop().time() + patience
    try:
        decided = await _is_past(request.app[LOG], EXECUTOR, "execution_commands", {str(key)}, deadline)
    except LogUnavailable:
        decided = False
    if not decided:
        _say_behind(request, "log")
        if pending is not None:
            own.note_overdue(caller, part, pending.upto)
    view = request.app[LIVE_VIEW]
    async with view.watch(key) as live:
        # What is followed may be a moment behind the log, and what was just looked for may not be found whole yet.
        await view.catch_up(live)
        if live.header is not None:
            view.keep(live)
            if decided and pending is not None:
                own.settle(caller, part, pending.upto, key.execution_id)
        yield


async def _wait(
    request: web.Request,
    caller: tuple[str, str],
    waits: Collection[tuple[str, Pending]],
    key: ExecutionKey | None,
) -> None:
    own, log = request.app[OWN_WRITES], request.app[LOG]
    deadline = asyncio.get_running_loop().time() + request.app[SITE].index_timeout.total_seconds()
    shown: list[tuple[str, Pending]] = []
    for name, pending in waits:
        part = _PARTS[name]
        keys: Collection[str] | None = None
        if part.of_executions:
            if key is not None:
                if pending.executions is not None and key.execution_id not in pending.executions:
                    continue
                keys = {str(key)}
            elif pending.executions is not None:
                keys = {str(ExecutionKey(caller[0], each)) for each in pending.executions}
        if keys is not None and not keys:
            own.settle(caller, name, pending.upto)
            continue
        until = 0.0 if own.is_overdue(caller, name, pending.upto) else deadline
        try:
            is_shown = part.decided is None or await _is_past(log, *part.decided, keys, until)
            is_shown = is_shown and await _is_past(log, INDEXER, part.topic, keys, until)
        except LogUnavailable:
            is_shown = False
        if is_shown:
            shown.append((name, pending))
        else:
            own.note_overdue(caller, name, pending.upto)
            _say_behind(request, "index")
    if shown:
        with suppress(IndexFailed):  # the handler meets the same, and says so
            await request.app[INDEX].refresh()
            for name, pending in shown:
                own.settle(caller, name, pending.upto, "" if key is None else key.execution_id)


def _caller(request: web.Request) -> tuple[str, str]:
    principal = request.get(PRINCIPAL)
    return request[TENANT], ANYBODY if principal is None else principal.id


def _execution_of(request: web.Request) -> ExecutionKey | None:
    found = request.match_info.get("executionId")
    return None if found is None else ExecutionKey(request[TENANT], found)


@cache
def _reads_index(path: str) -> bool:
    """Whether the route of an execution reads more of it than the live view has."""
    return not path.startswith(_EXECUTION) or path[len(_EXECUTION) :].startswith(_FROM_INDEX)


@cache
def _parts_of(path: str) -> tuple[str, ...]:
    first = path.removeprefix("/{tenant}").lstrip("/").partition("/")[0]
    return _READ_BY.get(first, ())


def _say_behind(request: web.Request, what: str) -> None:
    said = request.get(_BEHIND)
    if said is None:
        said = request[_BEHIND] = set()
    said.add(what)


async def add_behind(request: web.Request, answer: web.StreamResponse) -> None:
    """Say in the head of an answer what it may be behind of."""
    said = request.get(_BEHIND)
    if said:
        answer.headers[BEHIND] = ", ".join(sorted(said))


async def decided_execution(request: web.Request, key: ExecutionKey) -> Document | None:
    """An execution whose creation may be on the log already; None when it is not, and can be asked for.

    Raises Problem 503 while executors have not decided what is on the log.
    """
    deadline = asyncio.get_running_loop().time() + request.app[SITE].answer_timeout.total_seconds()
    if not await _is_past(request.app[LOG], EXECUTOR, "execution_commands", {str(key)}, deadline):
        raise Problem(
            503,
            "whether the execution was created before is not known yet; try again in a moment",
            headers={"Retry-After": "1"},
        )
    view = request.app[LIVE_VIEW]
    async with view.watch(key) as live:
        await view.catch_up(live)
        return None if live.header is None else live.document


# --- how far a group has come ------------------------------------------------------------------------------------


async def is_indexed(request: web.Request, keys: Collection[str], topics: Collection[str]) -> bool:
    """Wait until the index has what these topics had of keys when this was called; False when it takes too long."""
    deadline = asyncio.get_running_loop().time() + request.app[SITE].answer_timeout.total_seconds()
    for topic in topics:
        if not await _is_past(request.app[LOG], INDEXER, topic, keys, deadline):
            return False
    return True


async def _is_past(log: Log, group: str, topic: str, keys: Collection[str] | None, deadline: float) -> bool:
    """Wait until a group has consumed what a topic has of keys, with None of all; False at the deadline.

    Positions alone do not tell: a log may count what it never delivers, such as the marks of transactions.
    """
    loop = asyncio.get_running_loop()
    count = log.partitions(topic)
    wanted = range(count) if keys is None else {partition_of(key, count) for key in keys}
    ends = {
        partition.number: end
        for partition, end in (await log.written_offsets([topic])).items()
        if partition.number in wanted
    }
    needed: dict[
        int, int
    ] = {}  # the last record that is about the keys, once the partition was read to its end
    looks = 0
    while True:
        positions = await log.positions(group, topic)
        behind = {
            number: positions.get(number, 0)
            for number, end in ends.items()
            if positions.get(number, 0) < min(end, needed.get(number, end - 1) + 1)
        }
        unread = {
            number: start
            for number, start in behind.items()
            if number not in needed and ends[number] - start <= _NEAR
        }
        if unread:
            needed |= await _last_of(log, topic, unread, ends, keys)
            behind = {
                number: start
                for number, start in behind.items()
                if number not in needed or start <= needed[number]
            }
        if not behind:
            return True
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS[min(looks, len(_LOOK_SECONDS) - 1)])
        looks += 1


async def _last_of(
    log: Log,
    topic: str,
    starts: Mapping[int, int],
    ends: Mapping[int, int],
    keys: Collection[str] | None,
) -> dict[int, int]:
    """The offset of the last record of these keys in each partition from its start on; -1 where there is none."""
    last = dict.fromkeys(starts, -1)
    reader = await log.reader(topic, dict(starts))
    try:
        while True:
            for record in await reader.poll(maximum=_READ_AT_ONCE, timeout=_PATIENCE):
                if record.offset < ends[record.partition] and (keys is None or record.key in keys):
                    last[record.partition] = record.offset
            reached = reader.reached()
            if all(reached.get(number, 0) >= ends[number] for number in starts) or await reader.at_end():
                return last
    finally:
        await reader.close()
