"""The analytics app on Faust: topics, tables and agents around the two steps; whatever is decided stands there.

Faust gives at-least-once reading, tables that survive in changelog topics, and partitions shared by instances.  An
event that is read twice is counted once, because both steps remember what they have seen.  While partitions move
between instances Faust may pass over single records; figures that must be exact are the index's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import faust
import msgspec
from faust.serializers.codecs import Codec
from mode.supervisors import CrashingSupervisor

from flowtide.analytics.closing import LATENESS, Windows
from flowtide.analytics.committed import CommittedTransport
from flowtide.analytics.connection import Connection
from flowtide.analytics.reading import EventReader, EventRecord
from flowtide.analytics.records import (
    PART_DECODER,
    ClosedBefore,
    OpenWindow,
    Part,
    Progress,
    SeenExecution,
)
from flowtide.log.partitioner import partition_of
from flowtide.log.topics import Topic
from flowtide.model.records import encode
from flowtide.model.statistics import ExecutionStatistics
from flowtide.telemetry import get_logger

EVENTS = "execution_events"
STATISTICS = "execution_statistics"
PARTS = "execution_statistics_parts"
SEEN = "execution_statistics_seen"
WINDOWS = "execution_statistics_windows"
#: Topics that only this app reads.  They are not among the files of `topics/`, so that a server creates none of them
#: where nobody wants statistics.
INTERNAL_TOPICS = (
    Topic(
        name=PARTS,
        description="What batches of events add to windows, and how far their readers are; between the two steps.",
        key="{tenant}/{namespace}/{flow}",
        partitions="default",
        cleanup="delete",
        retention=timedelta(days=1),
        schema="flowtide.analytics.records, Part and Progress",
    ),
    Topic(
        name=SEEN,
        description="What the first step remembers of executions that are not over.",
        key="{tenant}/{execution}",
        partitions="default",
        cleanup="compact",
        retention=None,
        schema="flowtide.analytics.records, SeenExecution",
    ),
    Topic(
        name=WINDOWS,
        description="What the second step has added up in windows that are open.",
        key="{partition}/{start of the window}/{tenant}/{namespace}/{flow}",
        partitions="default",
        cleanup="compact",
        retention=None,
        schema="flowtide.analytics.records, OpenWindow and ClosedBefore",
    ),
)
_BATCH_AT_MOST = 4_000
_BATCH_PATIENCE = timedelta(milliseconds=200)
_PROGRESS_INTERVAL = timedelta(seconds=5)
_PROGRESS_KEY = b"progress"
logger = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the app is made with."""

    connection: Connection
    topic_prefix: str
    group: str  # the consumer group, and the id of Faust's app
    partitions: int  # of `execution_events`; the app's own topics have as many
    replication_factor: int
    folder: Path  # Faust wants one; it stays empty
    message_limit_bytes: int
    lateness: timedelta = LATENESS
    progress_interval: timedelta = _PROGRESS_INTERVAL
    clock: Callable[[], float] = time.time  # seconds since 1970-01-01T00:00Z


class Analytics:
    """The app and its wiring; `app` is a service of Faust's kind, with `start` and `stop`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.app = _app(plan)
        self.handled = 0  # events since the start, for whoever measures
        self._events_topic = plan.topic_prefix + EVENTS
        raw = {"key_serializer": "raw", "value_serializer": "raw", "key_type": bytes, "value_type": bytes}
        self._parts = self.app.topic(plan.topic_prefix + PARTS, partitions=plan.partitions, **raw)
        self._statistics = self.app.topic(plan.topic_prefix + STATISTICS, partitions=plan.partitions, **raw)
        events = self.app.topic(self._events_topic, partitions=plan.partitions, **raw)
        # State lies in the partition of the records that it comes from.  Faust would take the partition of the record
        # at hand for it, which is one of many where a batch is handled.
        self._seen = self._table(
            SEEN, _codec(SeenExecution), lambda key: partition_of(key.decode(), plan.partitions)
        )
        self._open = self._table(
            WINDOWS, _codec(OpenWindow | ClosedBefore), lambda key: int(key.split(b"/", 1)[0])
        )
        self._start_anew()
        self.app.on_partitions_assigned.connect(self._on_assigned)
        self.app.agent(events, name=f"{plan.group}.read")(self._read)
        self.app.agent(self._parts, name=f"{plan.group}.close")(self._close)
        self.app.timer(plan.progress_interval.total_seconds())(self._tell_progress)

    def _table(self, name: str, codec: Codec, place: Callable[[bytes], int]) -> Any:
        topic = self._plan.topic_prefix + name
        # As Faust makes the topic of a table itself, but under the name and with the values of ours.
        changelog = self.app.topic(
            topic,
            key_type=bytes,
            key_serializer="raw",
            value_serializer=codec,
            partitions=self._plan.partitions,
            compacting=True,
            acks=False,
            internal=True,
            maxsize=131_072,
            allow_empty=True,
        )
        table = _PlacedTable(
            self.app,
            name=topic,
            key_type=bytes,
            partitions=self._plan.partitions,
            changelog_topic=changelog,
            beacon=self.app.tables.beacon,
        )
        table.place = place
        table.value_serializer = codec
        return self.app.tables.add(table)

    def _start_anew(self) -> None:
        """Nothing that was derived from tables or records holds after partitions have moved."""
        self._reader = EventReader(self._seen)
        self._reader_restored = False
        # By partition of the events: the offset of the last one that was handled, and the latest time among them.
        self._handled: dict[int, int] = {}
        self._read_ms: dict[int, int] = {}
        self._windows: dict[int, Windows] = {}

    async def _on_assigned(self, app: Any, assigned: Iterable[Any], **_: Any) -> None:
        self._start_anew()
        app.consumer.forget_fetched()

    # The first step.

    async def _read(self, stream: Any) -> None:
        async for events in _taken(stream):
            now_ms = self._now_ms()
            if not self._reader_restored:
                self._reader.restored(now_ms=now_ms)
                self._reader_restored = True
            reader, handled, latest_ms = self._reader, self._handled, self._read_ms
            batch = reader.read(
                [EventRecord(event.message.partition, event.key, event.value) for event in events],
                now_ms=now_ms,
            )
            for window, tally in batch.parts.items():
                part = Part(start_ms=window.start_ms, tally=tally)
                self._parts.send_soon(key=str(window.flow).encode(), value=encode(part))
            for key, seen in batch.changes.items():
                self._seen[key] = seen
            for key in reader.forgotten(now_ms=now_ms):
                self._seen.pop(key, None)
            # Nothing was awaited since the first part, so a stop finds all of the batch here or nothing.  A kill may
            # leave parts without the state that says so: then some events are counted twice, and none is lost.
            await self.app.producer.flush()
            for event in events:
                handled[event.message.partition] = event.message.offset
                event.ack()  # only now: an error before ends the process, and the next one reads them again
            for partition, read_ms in batch.read_ms.items():
                latest_ms[partition] = max(read_ms, latest_ms.get(partition, 0))
            self.handled += len(events)
            if batch.orphans or batch.unreadable:
                logger.warning(
                    "events were not counted: what they belong to was created before the first event that is kept, "
                    "or they cannot be read",
                    orphans=batch.orphans,
                    unreadable=batch.unreadable,
                )

    async def _tell_progress(self) -> None:
        """Tell every partition of the second step how far the events of this instance have been read."""
        now_ms = self._now_ms()
        read_ms = dict(self._read_ms)
        for partition in self.app.consumer.assignment():
            if partition.topic != self._events_topic or not await self.app.consumer.exhausted(partition):
                continue
            # In this order: what is fetched after the look at the broker is not handled yet.
            fetched = self.app.consumer.fetched(partition)
            if fetched is None or self._handled.get(partition.partition, -1) >= fetched:
                read_ms[partition.partition] = max(now_ms, read_ms.get(partition.partition, 0))
        if not read_ms:
            return
        progress = encode(Progress(partitions=self._plan.partitions, read_ms=read_ms))
        for number in range(self._plan.partitions):
            await self._parts.send(key=_PROGRESS_KEY, value=progress, partition=number)

    # The second step.

    async def _close(self, stream: Any) -> None:
        async for events in _taken(stream):
            for event in events:
                for key, statistics in self._handle(event):
                    self._statistics.send_soon(key=key.encode(), value=encode(statistics))
            # A partition goes to another instance once its records are acknowledged, and the state must be there then.
            await self.app.producer.flush()
            for event in events:
                event.ack()

    def _handle(self, event: Any) -> list[tuple[str, ExecutionStatistics]]:
        """Fold a record of the parts; gives what it closed."""
        partition = event.message.partition
        windows = self._windows.get(partition)
        if windows is None:
            windows = self._windows[partition] = Windows(partition, self._open, lateness=self._plan.lateness)
        record = PART_DECODER.decode(event.value)
        if isinstance(record, Progress):
            return windows.advance(record)
        key = event.key.decode()
        if not windows.add(key, record, offset=event.message.offset):
            logger.warning("events came too late for their window", flow=key, window_ms=record.start_ms)
        return []

    def _now_ms(self) -> int:
        return int(self._plan.clock() * 1000)


class _PlacedTable(faust.Table[bytes, Any]):
    """A table that is told the partition of a key."""

    logger = logging.getLogger("faust.tables")

    place: Callable[[bytes], int]

    def partition_for_key(self, key: bytes) -> int:
        """The partition of the changelog."""
        return self.place(key)


def _codec(kind: Any) -> Codec:
    decoder = msgspec.json.Decoder(kind)

    class StateCodec(Codec):
        def _loads(self, s: bytes | None) -> Any:
            return None if s is None else decoder.decode(s)

        def _dumps(self, s: Any) -> bytes:
            return encode(s)

    return StateCodec()


def _taken(stream: Any) -> Any:
    """Batches of a stream, to be acknowledged by whoever handled them.

    `noack` first: `noack_take` alone would acknowledge at a stop the record that waits for its next batch.
    """
    return stream.noack().noack_take(_BATCH_AT_MOST, within=_BATCH_PATIENCE.total_seconds())


def _app(plan: Plan) -> Any:
    connection = plan.connection
    credentials: faust.SASLCredentials | faust.SSLCredentials | None = None
    if connection.mechanism is not None:
        credentials = faust.SASLCredentials(
            username=connection.username,
            password=connection.password,
            mechanism=connection.mechanism,
            ssl_context=connection.tls,
        )
    elif connection.tls is not None:
        credentials = faust.SSLCredentials(context=connection.tls)
    app = faust.App(
        plan.group,
        broker=[f"aiokafka://{server}" for server in connection.servers],
        broker_credentials=credentials,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        broker_max_poll_records=_BATCH_AT_MOST,
        consumer_auto_offset_reset="earliest",
        store="memory://",
        agent_supervisor=CrashingSupervisor,
        processing_guarantee="at_least_once",
        topic_disable_leader=True,
        topic_partitions=plan.partitions,
        topic_replication_factor=plan.replication_factor,
        topic_allow_declare=False,  # they are created as all topics of Flowtide are
        producer_max_request_size=plan.message_limit_bytes,
        producer_linger=0.005,
        stream_buffer_maxsize=_BATCH_AT_MOST * 2,
        datadir=str(plan.folder),
        web_enabled=False,
        autodiscover=False,
    )
    app.transport = CommittedTransport(app.conf.broker_consumer, app)
    return app
