"""The catalog of saved things: the compacted topic `resources`, read into memory; flows parsed when asked for.

In come records (and replies to own saves); out go flows, lists and calls of listeners.  Everything that
needs flows or settings asks here and never the search index.  Use it from the event loop that started it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import structlog

from flowtide.errors import FlowInvalid, LogUnavailable
from flowtide.log.keys import FlowKey, ResourceKey, resource_key
from flowtide.log.port import Log, Reader, Record
from flowtide.model.flow import Flow
from flowtide.model.records import UNREADABLE
from flowtide.model.resources import (
    FLOW_BODY_DECODER,
    FORGOTTEN_KINDS,
    RESOURCE_DECODER,
    Resource,
    ResourceKind,
    ResourceReply,
)
from flowtide.processors.slots import FlowLimit, OverLimit

RESOURCES = "resources"
DEFAULT_PARSED_FLOWS = 2_000

_POLL = timedelta(milliseconds=50)
_MAXIMUM = 5_000  # records per poll
_BACK_OFF_SECONDS = 0.5
_LONGEST_TRANSACTION_SECONDS = 15.0  # Kafka ends those of dead servers after 10

Parse = Callable[[str, str], Flow]
"""(source, tenant) -> the flow; raises FlowInvalid."""
OnChange = Callable[[ResourceKey, Resource | None], None]
_Names = list[str]  # the class has a method of that name
_RevisionKey = tuple[str, str, str, int]

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedFlow:
    """One revision of a flow; a deleted one still has the source that it was deleted with."""

    key: FlowKey
    revision: int
    updated: datetime
    deleted: bool
    by: str | None
    _resource: Resource = field(repr=False, compare=False)
    _catalog: Catalog = field(repr=False, compare=False)

    @property
    def source(self) -> str:
        """The YAML, byte for byte as it was saved."""
        return FLOW_BODY_DECODER.decode(self._resource.body).source

    @property
    def flow(self) -> Flow:
        """The flow as it reads; parsed once while it is in use.  Raises FlowInvalid."""
        return self._catalog.parsed(self)


class Catalog:
    """All that is saved, as it is now.

    `parse` reads the source of a flow of a tenant and raises FlowInvalid; the last `parsed_flows` of them are kept.
    """

    def __init__(self, log: Log, parse: Parse, *, parsed_flows: int = DEFAULT_PARSED_FLOWS) -> None:
        self._log = log
        self._parse = parse
        self._parsed_flows = parsed_flows
        self._things: dict[tuple[str, str], dict[str, Resource]] = {}  # (tenant, kind) -> identifier -> thing
        self._sorted: dict[tuple[str, str], list[str]] = {}
        self._parsed: OrderedDict[_RevisionKey, Flow | FlowInvalid] = OrderedDict()
        self._listeners: list[OnChange] = []
        self._seen: dict[int, int] = {}  # partition -> everything before this offset is here
        self._waiters: list[tuple[Mapping[int, int], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the topic to its end, and follow it from then on.  Raises LogUnavailable."""
        reader = await self._open()
        while not await reader.at_end():
            self._take_in(await reader.poll(maximum=_MAXIMUM, timeout=_POLL))
        self._task = asyncio.create_task(self._follow(reader), name="catalog")

    async def close(self) -> None:
        """Stop following.  What was read stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for _, waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()

    async def catch_up(self) -> None:
        """Return when everything that was committed before this call is here.  Raises LogUnavailable."""
        # The ends of what is written: an answer may come before the mark that ends its transaction is here, too.
        written = await self._log.written_offsets([RESOURCES])
        try:
            async with asyncio.timeout(_LONGEST_TRANSACTION_SECONDS):
                await self.reach({partition.number: end for partition, end in written.items()})
        except TimeoutError:
            # A transaction that nobody will end holds its readers; nothing of it was answered to anybody.
            logger.warning("saved things are behind a transaction that does not end", topic=RESOURCES)
            await self.reach(await self._log.end_offsets(RESOURCES))

    async def reach(self, ends: Mapping[int, int]) -> None:
        """Return when everything before these offsets of `resources` is here.  Raises LogUnavailable."""
        if self._has(ends):
            return
        if self._task is None or self._task.done():
            raise LogUnavailable("the catalog of saved things is not being read; start it first")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((ends, waiter))
        await waiter

    def apply(self, reply: ResourceReply) -> None:
        """Take in the answer to an own save at once, so that the next read sees it.

        Not that of a thing whose deletion leaves no trace: its revisions do not tell which state is the later one, so
        who reads such things calls `catch_up` first.
        """
        kind = resource_key(reply.key).kind
        if kind in FORGOTTEN_KINDS or kind == ResourceKind.FLOW_REVISION:
            return  # of a revision, only its deletion is answered
        if reply.resource is not None and reply.conflict is None:
            self._put(resource_key(reply.key), reply.resource)

    def on_change(self, listener: OnChange) -> Callable[[], None]:
        """Call `listener` with each thing that changes from now on (None: it is forgotten); gives
        the way to end it.
        """
        self._listeners.append(listener)

        def end() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def get(self, kind: ResourceKind, tenant: str, identifier: str) -> Resource | None:
        """A thing as it is now, also a deleted one; None when it never was."""
        return self._things.get((tenant, kind), {}).get(identifier)

    def list(self, kind: ResourceKind, tenant: str) -> Iterator[tuple[str, Resource]]:
        """The things of a kind that are not deleted, by identifier."""
        return self.below(kind, tenant, "")

    def below(self, kind: ResourceKind, tenant: str, beginning: str) -> Iterator[tuple[str, Resource]]:
        """The things of a kind that are not deleted and whose identifiers begin so, by identifier.

        Its cost is that of what is found, and not of all that there is.  Which names are found is settled by this
        call, on the event loop; the iteration may then go on in a thread.
        """
        things = self._things.get((tenant, kind), {})
        identifiers = self._identifiers(tenant, kind)
        start, end = 0, len(identifiers)
        if beginning:
            start = bisect_left(identifiers, beginning)
            end = bisect_left(identifiers, beginning[:-1] + chr(ord(beginning[-1]) + 1))
        return _not_deleted(things, identifiers[start:end])

    def tenants(self) -> set[str]:
        """The tenants that have saved something."""
        return {tenant for tenant, _ in self._things}

    def flow(
        self, tenant: str, namespace: str, flow_id: str, revision: int | None = None
    ) -> SavedFlow | None:
        """A revision of a flow, the latest one by default, also of a deleted flow; None when
        there is none.
        """
        latest = self.get(ResourceKind.FLOW, tenant, f"{namespace}/{flow_id}")
        return None if latest is None else self._saved(FlowKey(tenant, namespace, flow_id), latest, revision)

    def flows(
        self, tenant: str, namespace: str | None = None, *, below: bool = False, text: str | None = None
    ) -> Iterator[SavedFlow]:
        """The flows that are not deleted, by namespace and id.

        `namespace` limits them to one, with `below` also to those below it; `text` is looked for in
        namespace and id, whatever its case.
        """
        wanted = None if text is None else text.casefold()
        for identifier, latest in self.list(ResourceKind.FLOW, tenant):
            found, _, flow_id = identifier.partition("/")
            if (
                namespace is not None
                and found != namespace
                and not (below and found.startswith(f"{namespace}."))
            ):
                continue
            if wanted is not None and wanted not in identifier.casefold():
                continue
            saved = self._saved(FlowKey(tenant, found, flow_id), latest, None)
            if saved is not None:
                yield saved

    def revisions(self, tenant: str, namespace: str, flow_id: str) -> Iterator[SavedFlow]:
        """Every revision of a flow, ascending."""
        latest = self.flow(tenant, namespace, flow_id)
        for revision in range(1, 0 if latest is None else latest.revision + 1):
            saved = self.flow(tenant, namespace, flow_id, revision)
            if saved is not None:
                yield saved

    def namespaces(self, tenant: str) -> Sequence[str]:
        """The namespaces that have flows, sorted."""
        return sorted(
            {identifier.partition("/")[0] for identifier, _ in self.list(ResourceKind.FLOW, tenant)}
        )

    def limit(self, key: FlowKey) -> FlowLimit | None:
        """What the *flows* processor asks: the concurrency of the latest revision; None for an
        unknown flow.
        """
        saved = self.flow(*key)
        if saved is None:
            return None
        try:
            concurrency = None if saved.deleted else saved.flow.concurrency
        except FlowInvalid:
            concurrency = None
        if concurrency is None:
            return FlowLimit(updated=saved.updated)
        return FlowLimit(
            updated=saved.updated, limit=concurrency.limit, behavior=OverLimit(concurrency.behavior)
        )

    def parsed(self, saved: SavedFlow) -> Flow:
        """The flow of a revision.  Raises FlowInvalid."""
        key = (*saved.key, saved.revision)
        found = self._parsed.get(key)
        if found is None:
            try:
                found = self._parse(saved.source, saved.key.tenant)
            except FlowInvalid as error:
                found = error
            self._parsed[key] = found
            if len(self._parsed) > self._parsed_flows:
                self._parsed.popitem(last=False)
        else:
            self._parsed.move_to_end(key)
        if isinstance(found, FlowInvalid):
            raise found
        return found

    def _saved(self, key: FlowKey, latest: Resource, revision: int | None) -> SavedFlow | None:
        resource = latest
        if latest.deleted or (revision is not None and revision != latest.revision):
            number = latest.revision if revision is None else revision
            identifier = f"{key.namespace}/{key.flow_id}/{number}"
            found = self.get(ResourceKind.FLOW_REVISION, key.tenant, identifier)
            if found is None:
                return None
            resource = found
        newest = revision is None or revision == latest.revision
        return SavedFlow(
            key=key,
            revision=resource.revision,
            updated=latest.updated if newest else resource.updated,
            deleted=latest.deleted,
            by=latest.by if newest else resource.by,
            _resource=resource,
            _catalog=self,
        )

    def _identifiers(self, tenant: str, kind: str) -> _Names:
        identifiers = self._sorted.get((tenant, kind))
        if identifiers is None:
            identifiers = self._sorted[tenant, kind] = sorted(self._things.get((tenant, kind), {}))
        return identifiers

    def _put(self, key: ResourceKey, resource: Resource) -> None:
        """Take in a thing, unless a later state of it is known: an own save may be here before
        the topic tells of it.
        """
        things = self._things.setdefault((key.tenant, key.kind), {})
        before = things.get(key.identifier)
        if before is None:
            known = self._sorted.get((key.tenant, key.kind))
            if known is not None:
                insort(known, key.identifier)
        elif (before.revision, before.deleted) >= (resource.revision, resource.deleted):
            return
        if key.kind == ResourceKind.FLOW:
            resource = self._sharing(key, resource)
        things[key.identifier] = resource
        if key.kind == ResourceKind.NAMESPACE:
            self._read_again(key.tenant, key.identifier)
        self._call(key, resource)

    def _read_again(self, tenant: str, namespace: str) -> None:
        """Forget how the flows of a namespace and of those below it read: it may hand other defaults down to them."""
        for parsed in [each for each in self._parsed if each[0] == tenant]:
            if parsed[1] == namespace or parsed[1].startswith(f"{namespace}."):
                del self._parsed[parsed]

    def _sharing(self, key: ResourceKey, resource: Resource) -> Resource:
        """With the body of the revision's record, so that the latest source is in memory once."""
        revision = self.get(ResourceKind.FLOW_REVISION, key.tenant, f"{key.identifier}/{resource.revision}")
        if revision is None or bytes(revision.body) != bytes(resource.body):
            return resource
        return msgspec.structs.replace(resource, body=revision.body)

    def _forget(self, key: ResourceKey) -> None:
        if self._things.get((key.tenant, key.kind), {}).pop(key.identifier, None) is not None:
            known = self._sorted.get((key.tenant, key.kind))
            if known is not None:
                del known[bisect_left(known, key.identifier)]
            self._call(key, None)

    def _call(self, key: ResourceKey, resource: Resource | None) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(key, resource)
            except Exception:
                logger.exception("a listener of the catalog failed", key=str(key))

    def _take_in(self, records: Iterable[Record]) -> None:
        for record in records:
            self._seen[record.partition] = record.offset + 1
            try:
                key = resource_key(record.key)
                if record.value is None:
                    self._forget(key)
                else:
                    self._put(key, RESOURCE_DECODER.decode(record.value))
            except UNREADABLE as error:
                logger.warning("a record of saved things cannot be read", key=record.key, reason=str(error))

    async def _open(self) -> Reader:
        numbers = range(self._log.partitions(RESOURCES))
        return await self._log.reader(
            RESOURCES, {number: self._seen.get(number, "beginning") for number in numbers}
        )

    async def _follow(self, reader: Reader | None) -> None:
        while True:
            try:
                reader = reader or await self._open()
                self._take_in(await reader.poll(maximum=_MAXIMUM, timeout=_POLL))
                for number, offset in reader.reached().items():
                    self._seen[number] = max(self._seen.get(number, 0), offset)
                if self._waiters:
                    self._answer()
            except LogUnavailable as error:
                logger.warning("saved things cannot be read, trying again", reason=str(error))
                waiters, self._waiters = self._waiters, []
                for _, waiter in waiters:
                    if not waiter.done():
                        waiter.set_exception(LogUnavailable(str(error)))
                with suppress(LogUnavailable):
                    if reader is not None:
                        await reader.close()
                reader = None
                await asyncio.sleep(_BACK_OFF_SECONDS)
            except asyncio.CancelledError:
                if reader is not None:
                    await reader.close()
                raise

    def _answer(self) -> None:
        """Answer those who wait in `reach` and whose records have come."""
        waiters, self._waiters = self._waiters, []
        for ends, waiter in waiters:
            if waiter.done():
                continue  # whoever waited has gone
            if self._has(ends):
                waiter.set_result(None)
            else:
                self._waiters.append((ends, waiter))

    def _has(self, ends: Mapping[int, int]) -> bool:
        return all(self._seen.get(number, 0) >= end for number, end in ends.items())


def _not_deleted(
    things: Mapping[str, Resource], identifiers: Sequence[str]
) -> Iterator[tuple[str, Resource]]:
    for identifier in identifiers:
        thing = things.get(identifier)
        if thing is not None and not thing.deleted:
            yield identifier, thing
