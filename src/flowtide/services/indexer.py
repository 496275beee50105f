"""Copies what is on the log into the search index: events, logs, metrics, flows, triggers and servers come in,
documents go out.

State: the documents of executions and task runs that are still changing, so that an event is folded without reading
the index.  The group's positions move only after the documents are written, so a crash, or an index that is down for
hours, costs nothing but time; documents carry their position as version, so indexing twice changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
import structlog

from flowtide.errors import Fenced, IndexFailed, LogUnavailable, MessageTooLarge
from flowtide.index import documents
from flowtide.index.documents import Document
from flowtide.index.flow_documents import flow_document
from flowtide.index.kinds import KINDS, SYSTEM_TENANT, kind_of
from flowtide.index.port import Delete, Index, Write
from flowtide.log.keys import execution_key, resource_key, trigger_key
from flowtide.log.port import Consumer, Log, Message, Partition, Record
from flowtide.model.audit import AUDIT_DECODER
from flowtide.model.dead_letters import dead_letter
from flowtide.model.entries import LOG_DECODER, METRIC_DECODER
from flowtide.model.events import (
    EVENT_DECODER,
    ExecutionClosed,
    ExecutionCreated,
    ExecutionEnded,
    ExecutionEvent,
    TaskRunCreated,
    TaskRunEnded,
)
from flowtide.model.records import encode
from flowtide.model.resources import RESOURCE_DECODER, ResourceKind
from flowtide.model.services import SERVICE_DECODER
from flowtide.model.trigger_records import TRIGGER_STATE_DECODER
from flowtide.services.platform.records import remove_documents
from flowtide.telemetry import Metrics

GROUP = "indexer"
TOPIC_OF: Mapping[str, str] = {
    "executions": "execution_events",
    "task_runs": "execution_events",
    "events": "execution_events",
    "logs": "logs",
    "metrics": "metrics",
    "flows": "resources",
    "audit_logs": "audit_logs",
    "triggers": "trigger_events",
    "services": "services",
}
"""The topic that each kind of document is made from."""

TOPICS = tuple(dict.fromkeys(TOPIC_OF.values()))
CACHE_BYTES = 64_000_000
_SLICE = 50  # events folded before others have their turn
_IDLE = timedelta(seconds=1)
_FIRST_DELAY = timedelta(milliseconds=100)
_LONGEST_DELAY = timedelta(seconds=5)

Key = tuple[str, str]  # tenant, id
logger = structlog.get_logger(__name__)


class IndexerMetrics(Protocol):
    """Who counts what the indexer does (MET-6); `type` is a topic for records and a kind for documents."""

    def received(self, type: str, count: int) -> None:  # noqa: A002 - the metric's label
        """So many records were read: indexer.message.in.count."""

    def written(self, type: str, count: int) -> None:  # noqa: A002 - as above
        """So many documents were written: indexer.message.out.count."""

    def requested(self, duration: timedelta) -> None:
        """One batch was written: indexer.request.count and indexer.request.duration."""


class TelemetryMetrics:
    """The metrics as Prometheus and OpenTelemetry see them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def received(self, type: str, count: int) -> None:  # noqa: A002 - the metric's label
        """Count records."""
        self._metrics.counter("indexer.message.in.count", type).add(count)

    def written(self, type: str, count: int) -> None:  # noqa: A002 - as above
        """Count documents."""
        self._metrics.counter("indexer.message.out.count", type).add(count)

    def requested(self, duration: timedelta) -> None:
        """Count and time a batch."""
        self._metrics.counter("indexer.request.count", "bulk").add(1)
        self._metrics.timer("indexer.request.duration", "bulk").observe(duration.total_seconds())


class _NoMetrics:
    def received(self, type: str, count: int) -> None:  # noqa: A002 - the protocol's word
        pass

    def written(self, type: str, count: int) -> None:  # noqa: A002 - the protocol's word
        pass

    def requested(self, duration: timedelta) -> None:
        pass


class _Revoked(Exception):
    """Partitions of the batch in hand went to another member: what was not committed is its work now."""


class Indexer:
    """The indexer service; run one instance a process, several share the partitions.

    A batch is written when it has `batch_size` records or is `batch_duration` old (ES-7).  `instance` is its stable
    name in the group; `clock` dates dead letters; `duration_clock` gives seconds and only measures.
    """

    def __init__(
        self,
        log: Log,
        index: Index,
        *,
        clock: Callable[[], datetime],
        instance: str = "indexer",
        batch_size: int = 500,
        batch_duration: timedelta = timedelta(seconds=1),
        metrics: IndexerMetrics | None = None,
        duration_clock: Callable[[], float] = time.perf_counter,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch holds at least one record, not {batch_size}")
        self._log = log
        self._index = index
        self._clock = clock
        self._instance = instance
        self._batch_size = batch_size
        self._batch_duration = batch_duration
        self._metrics: IndexerMetrics = metrics or _NoMetrics()
        self._duration_clock = duration_clock
        self._executions = _Cache(cache_bytes // 2)
        self._task_runs = _Cache(cache_bytes // 2)
        self._consumer: Consumer | None = None
        self._carried: list[Record] = []
        self._assigned: set[Partition] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Index until `stop`.  Waits while the log or the index cannot be reached, and goes on afterwards."""
        delay = _FIRST_DELAY
        try:
            while not self._stopping.is_set():
                try:
                    await self._turn()
                    delay = _FIRST_DELAY
                except (Fenced, _Revoked):
                    await self._reopen()
                except LogUnavailable as error:
                    logger.warning("the indexer waits for the log", error=str(error))
                    await self._reopen()
                    await self._sleep(delay)
                    delay = min(delay * 2, _LONGEST_DELAY)
        finally:
            await self._reopen()

    def stop(self) -> None:
        """End `run` after the batch in hand; without waiting for an index that is down."""
        self._stopping.set()

    async def step(self) -> int:
        """Index what is there now, without waiting for more, and tell how many records that were.

        For the simulator and for tests; not to be mixed with `run`.  Raises IndexFailed when the index is down, and
        the records come again; the log's errors likewise.
        """
        try:
            records = await self._poll(self._batch_size, timedelta(0))
            if records:
                await self._handle(records, patient=False)
        except BaseException:
            await self._reopen()
            raise
        return len(records)

    async def close(self) -> None:
        """Leave the group; only needed after `step`."""
        await self._reopen()

    # --- taking records -----------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        records = await self._poll(self._batch_size, _IDLE)
        if not records:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._batch_duration.total_seconds()
        while len(records) < self._batch_size and not self._stopping.is_set():
            patience = deadline - loop.time()
            if patience <= 0:
                break
            records.extend(await self._poll(self._batch_size - len(records), timedelta(seconds=patience)))
        await self._handle(records, patient=True)

    async def _poll(self, maximum: int, timeout: timedelta) -> list[Record]:
        if self._carried:
            carried, self._carried = self._carried, []
            return carried
        if self._consumer is None:
            self._consumer = await self._log.consumer(group=GROUP, topics=TOPICS, instance=self._instance)
        polled = await self._consumer.poll(maximum=maximum, timeout=timeout)
        if polled.revoked:
            self._assigned.difference_update(polled.revoked)
            # Another member changes these documents from now on; should the partitions come back, ours are old.
            raise _Revoked
        self._assigned.update(assigned.partition for assigned in polled.assigned)
        return list(polled.records)

    async def _reopen(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._executions.clear()
        self._task_runs.clear()
        self._carried.clear()
        self._assigned.clear()
        if consumer is not None:
            try:
                await consumer.close()
            except LogUnavailable as error:
                logger.warning("the indexer could not leave its group", error=str(error))

    async def _sleep(self, duration: timedelta) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), duration.total_seconds())
        except TimeoutError:
            return

    # --- one batch ----------------------------------------------------------------------------------------------

    async def _handle(self, records: Sequence[Record], *, patient: bool) -> None:
        """Index a batch: (1) read the documents it changes, (2) fold, (3) write, (4) move the positions.

        (4) never comes before (3), or a crash between them would lose the batch.
        """
        batch = _Batch(self._executions, self._task_runs)
        for record in records:
            batch.take(record)
        missing_executions, missing_runs = batch.missing()
        while True:
            try:
                if missing_executions:
                    await self._load("executions", missing_executions, self._executions)
                if missing_runs:
                    await self._load("task_runs", missing_runs, self._task_runs)
                break
            except IndexFailed as error:
                await self._wait_for_index(error, patient)
        writes, sources = await batch.folded()
        refused = await self._write(writes, patient)
        for place, reason in refused.items():
            batch.refuse(sources[place], reason)
        batch.settle()
        await self._remove(batch.purged, patient)
        positions: dict[Partition, int] = {}
        for record in records:
            positions[Partition(record.topic, record.partition)] = record.offset + 1
        await self._commit(positions, batch.bad)
        _count(records, writes, refused, self._metrics)

    async def _remove(self, purged: Mapping[str, Sequence[str]], patient: bool) -> None:
        """What was purged comes back when the index is written anew, until the record that says so is met again."""
        while True:
            try:
                if purged:
                    await self._index.refresh()  # a removal finds what searches find
                for tenant, execution_ids in purged.items():
                    await remove_documents(self._index, tenant, execution_ids)
                return
            except IndexFailed as error:
                await self._wait_for_index(error, patient)

    async def _load(self, kind: str, keys: set[Key], cache: _Cache) -> None:
        found = await self._index.get_many(kind, list(keys))
        for key, one in found.items():
            cache.put(key, one.document, len(one.body))

    async def _write(self, writes: Sequence[Write | Delete], patient: bool) -> Mapping[int, str]:
        if not writes:
            return {}
        while True:
            start = self._duration_clock()
            try:
                refused = await self._index.write(writes)
            except IndexFailed as error:
                await self._wait_for_index(error, patient)
                continue
            self._delay = _FIRST_DELAY
            self._metrics.requested(timedelta(seconds=self._duration_clock() - start))
            return refused

    _delay = _FIRST_DELAY

    async def _wait_for_index(self, error: IndexFailed, patient: bool) -> None:
        """Wait before the next try, longer each time; stay a member of the group meanwhile."""
        if not patient:
            raise error
        if self._stopping.is_set():
            raise _Revoked from error
        logger.warning(
            "the indexer waits for the index", error=str(error), seconds=self._delay.total_seconds()
        )
        consumer = self._consumer
        assert consumer is not None
        consumer.pause(list(self._assigned))
        polled = await consumer.poll(maximum=1, timeout=timedelta(0))
        if polled.revoked:
            raise _Revoked from error
        self._assigned.update(assigned.partition for assigned in polled.assigned)
        self._carried.extend(polled.records)
        await self._sleep(self._delay)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        consumer.resume(list(self._assigned))

    async def _commit(
        self, positions: Mapping[Partition, int], bad: Mapping[int, tuple[Record, str]]
    ) -> None:
        consumer = self._consumer
        assert consumer is not None
        for record, reason in bad.values():
            logger.warning(
                "record put aside", topic=record.topic, key=record.key, offset=record.offset, reason=reason
            )
        letters = [self._letter(record, record.value, reason) for record, reason in bad.values()]
        try:
            await consumer.commit(positions=positions, messages=letters)
        except MessageTooLarge:
            # With its base64 a record near the limit is over it; where it stands on the log must do.
            letters = [
                self._letter(record, None, f"{reason} (too large to keep)") for record, reason in bad.values()
            ]
            await consumer.commit(positions=positions, messages=letters)

    def _letter(self, record: Record, value: bytes | None, reason: str) -> Message:
        letter = dead_letter(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=value,
            reason=reason,
            group=GROUP,
            at=self._clock(),
        )
        return Message(topic="dead_letters", key=record.key or "-", value=encode(letter))


class _Batch:
    """Records on their way to writes: what each changes, which documents that needs, and which were bad."""

    def __init__(self, executions: _Cache, task_runs: _Cache) -> None:
        self.bad: dict[int, tuple[Record, str]] = {}  # by identity of the record
        self.purged: dict[str, list[str]] = {}  # tenant -> executions whose documents go
        self._executions = executions
        self._task_runs = task_runs
        self._events: list[tuple[Record, ExecutionEvent]] = []
        # The last change of each document, with the record that led to it.
        self._changes: dict[tuple[str, str, str], tuple[Write | Delete, Record]] = {}
        self._plain: list[tuple[Write, Record]] = []
        self._over_executions: set[Key] = set()
        self._over_runs: set[Key] = set()
        self._takers: Mapping[str, Callable[[Record, bytes | None], None]] = {
            "logs": self._take_log,
            "metrics": self._take_metric,
            "resources": self._take_resource,
            "trigger_events": self._take_trigger,
            "services": self._take_service,
            "audit_logs": self._take_audit,
        }

    def take(self, record: Record) -> None:
        """Read a record; one that cannot be read is set aside."""
        try:
            if record.topic == "execution_events":
                if record.value is None:
                    key = execution_key(record.key)
                    self.purged.setdefault(key.tenant, []).append(key.execution_id)
                else:
                    self._events.append((record, EVENT_DECODER.decode(record.value)))
            else:
                self._takers[record.topic](record, record.value)
        except (msgspec.MsgspecError, ValueError, OverflowError, UnicodeError, RecursionError) as error:
            self.refuse(record, f"{type(error).__name__}: {error}")

    def refuse(self, record: Record, reason: str) -> None:
        """Set a record aside."""
        self.bad[id(record)] = record, reason

    def _take_log(self, record: Record, value: bytes | None) -> None:
        if value is not None:
            entry = LOG_DECODER.decode(value)
            self._plain.append((documents.log_write(entry, value, record.partition, record.offset), record))

    def _take_metric(self, record: Record, value: bytes | None) -> None:
        if value is not None:
            entry = METRIC_DECODER.decode(value)
            self._plain.append(
                (documents.metric_write(entry, value, record.partition, record.offset), record)
            )

    def _take_resource(self, record: Record, value: bytes | None) -> None:
        key = resource_key(record.key)
        if key.kind != ResourceKind.FLOW:
            return
        resource = None if value is None else RESOURCE_DECODER.decode(value)
        if resource is None or resource.deleted:
            self._remove("flows", key.tenant, key.identifier, record)
            return
        namespace, slash, flow_id = key.identifier.rpartition("/")
        if not slash:
            raise ValueError(f"{record.key!r} is not the key of a flow (tenant/flow/namespace/id)")
        flow = flow_document(resource, tenant=key.tenant, namespace=namespace, flow_id=flow_id)
        self._change(
            documents.write_of(
                "flows", tenant=key.tenant, id=key.identifier, version=record.offset, document=flow
            ),
            record,
        )

    def _take_trigger(self, record: Record, value: bytes | None) -> None:
        state = None if value is None else TRIGGER_STATE_DECODER.decode(value)
        if state is None or state.removed:
            key = trigger_key(record.key)
            self._remove("triggers", key.tenant, f"{key.namespace}/{key.flow_id}/{key.trigger_id}", record)
        else:
            self._change(documents.trigger_write(state, record.offset), record)

    def _take_service(self, record: Record, value: bytes | None) -> None:
        if value is None:
            self._remove("services", SYSTEM_TENANT, record.key, record)
        else:
            self._change(documents.service_write(SERVICE_DECODER.decode(value), record.offset), record)

    def _take_audit(self, record: Record, value: bytes | None) -> None:
        if value is not None:
            self._change(documents.audit_write(AUDIT_DECODER.decode(value), record.offset), record)

    def _change(self, change: Write | Delete, record: Record) -> None:
        self._changes[change.kind, change.tenant, change.id] = change, record

    def _remove(self, kind: str, tenant: str, identifier: str, record: Record) -> None:
        self._change(Delete(kind=kind, tenant=tenant, id=identifier, version=record.offset), record)

    def missing(self) -> tuple[set[Key], set[Key]]:
        """The documents of executions and task runs that must be read before `folded`.

        What an event of this batch creates is not read: it is folded from its beginning, also when it is read again.
        """
        executions: set[Key] = set()
        runs: set[Key] = set()
        begun: set[Key] = set()
        for _, event in self._events:
            key = event.tenant_id, event.execution_id
            if isinstance(event, ExecutionCreated):
                begun.add(key)
            elif key not in begun and key not in self._executions:
                executions.add(key)
            run_id = documents.changed_run(event)
            if run_id is not None:
                run_key = event.tenant_id, run_id
                if isinstance(event, TaskRunCreated):
                    begun.add(run_key)
                elif run_key not in begun and run_key not in self._task_runs:
                    runs.add(run_key)
        return executions, runs

    async def folded(self) -> tuple[list[Write | Delete], list[Record]]:
        """Fold the events; gives every write of the batch, and for each the record that led to it.

        The event loop goes round in between, because on the embedded index everybody shares it.
        """
        writes: list[Write | Delete] = []
        sources: list[Record] = []
        changed_executions: dict[Key, tuple[Document, Record]] = {}
        changed_runs: dict[Key, tuple[Document, Record]] = {}
        executions, runs = self._executions, self._task_runs
        for number, (record, event) in enumerate(self._events, 1):
            if number % _SLICE == 0:
                await asyncio.sleep(0)
            writes.append(documents.event_write(event, record.value or b"", record.offset))
            sources.append(record)
            key = event.tenant_id, event.execution_id
            try:
                known = executions.get(key)
                before = -1 if known is None else known["lastEvent"]
                execution = documents.fold_execution(known, event)
                if known is None:
                    executions.put(key, execution, 0)
                if execution["lastEvent"] != before:
                    changed_executions[key] = execution, record
                run_id = documents.changed_run(event)
                if run_id is not None:
                    run_key = event.tenant_id, run_id
                    known = runs.get(run_key)
                    before = -1 if known is None else known["lastEvent"]
                    run = documents.fold_task_run(known, event, execution)
                    assert run is not None
                    if known is None:
                        runs.put(run_key, run, 0)
                    if run["lastEvent"] != before:
                        changed_runs[run_key] = run, record
                    if isinstance(event, TaskRunEnded):
                        self._over_runs.add(run_key)
                if isinstance(event, ExecutionClosed) or (isinstance(event, ExecutionEnded) and event.closed):
                    self._over_executions.add(key)
            except Exception as error:  # whatever a recorded event holds, its partition goes on
                self.refuse(record, f"{type(error).__name__}: {error}")
        for key, (document, record) in changed_executions.items():
            write = documents.execution_write(document, record.offset)
            executions.put(key, document, len(write.body))
            writes.append(write)
            sources.append(record)
        for key, (document, record) in changed_runs.items():
            write = documents.task_run_write(document, record.offset)
            runs.put(key, document, len(write.body))
            writes.append(write)
            sources.append(record)
        for plain, record in self._plain:
            writes.append(plain)
            sources.append(record)
        for change, record in self._changes.values():
            writes.append(change)
            sources.append(record)
        return writes, sources

    def settle(self) -> None:
        """After the write: forget what will hardly change again, and what is more than the caches hold."""
        for key in self._over_executions:
            self._executions.drop(key)
        for key in self._over_runs:
            self._task_runs.drop(key)
        self._executions.shrink()
        self._task_runs.shrink()


class _Cache:
    """Documents by key, the least recently changed ones dropped when they weigh more than `limit_bytes`.

    Nothing is dropped before `shrink`, so a batch never loses what it is changing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[Key, tuple[Document, int]] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def get(self, key: Key) -> Document | None:
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: Key, document: Document, size_bytes: int) -> None:
        # As Python objects a document takes several times the room of its JSON, and never nothing.
        weight = 4 * size_bytes + 1_000
        self.drop(key)
        self._entries[key] = document, weight
        self._size_bytes += weight

    def drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size_bytes -= entry[1]

    def shrink(self) -> None:
        while self._size_bytes > self._limit_bytes:
            _, (_, weight) = self._entries.popitem(last=False)
            self._size_bytes -= weight

    def clear(self) -> None:
        self._entries.clear()
        self._size_bytes = 0


def _count(
    records: Sequence[Record],
    writes: Sequence[Write | Delete],
    refused: Mapping[int, str],
    metrics: IndexerMetrics,
) -> None:
    topics: dict[str, int] = {}
    for record in records:
        topics[record.topic] = topics.get(record.topic, 0) + 1
    kinds: dict[str, int] = {}
    for place, write in enumerate(writes):
        if place not in refused:
            kinds[write.kind] = kinds.get(write.kind, 0) + 1
    for topic, count in topics.items():
        metrics.received(topic, count)
    for kind, count in kinds.items():
        metrics.written(kind, count)


async def reindex(log: Log, index: Index, kinds: Sequence[str] = tuple(KINDS), *, empty: bool = True) -> None:
    """Have these kinds indexed anew from the beginning of the log; the indexer does it when it runs next.

    With `empty` the documents are removed first, so what is older than the retention of its topic does not come
    back; without it, documents are written over and older ones stay.  Stop the indexers before: raises GroupBusy
    when one runs, and nothing was changed.
    """
    names = [kind_of(kind).name for kind in kinds]
    await log.seek_group(GROUP, tuple(dict.fromkeys(TOPIC_OF[name] for name in names)), "beginning")
    if empty:
        await index.clear(names)
