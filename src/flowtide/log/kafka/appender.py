"""Appends outside transactions: one idempotent producer for everybody, so that small appends travel together.

Comes in: messages with their partitions, on the event loop.  Goes out: their delivery, awaited.  One thread
serves the producer's callbacks; they only count.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Producer

from flowtide.errors import LogUnavailable
from flowtide.log.kafka.translation import headers_of, translated
from flowtide.log.port import Message

_QUEUE_FULL_PAUSE_SECONDS = 0.005
_FLUSH_SECONDS = 10.0


class _Delivery:
    """Counts the messages of one append until all are delivered or lost.  Called by the producer's thread."""

    __slots__ = ("_appender", "_left", "failure", "future")

    def __init__(self, appender: Appender, count: int, future: asyncio.Future[None]) -> None:
        self._appender = appender
        self._left = count
        self.failure: KafkaError | None = None
        self.future = future

    def delivered(self, failure: KafkaError | None, _message: object) -> None:
        # Nothing here may raise: librdkafka would report it somewhere else.
        if failure is not None:
            self.failure = failure
        self._left -= 1
        if self._left == 0:
            self._appender.finished(self)


class Appender:
    """One producer; `start` it on the event loop that will append."""

    def __init__(self, config: Mapping[str, str | int | bool | float]) -> None:
        self._config = dict(config)
        self._lock = threading.Lock()
        self._done: list[_Delivery] = []
        self._running = False
        self._producer: Producer | None = None
        self._retired: list[Producer] = []  # after a fatal error, with appends that are to be told
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Build the producer.  Raises LogUnavailable when a property is wrong."""
        try:
            self._producer = Producer(dict(self._config))
        except KafkaException as error:
            raise translated(error, "use the producer properties of Kafka") from error
        self._loop = asyncio.get_running_loop()
        self._running = True
        self._thread = threading.Thread(target=self._serve, name="flowtide-kafka-append", daemon=True)
        self._thread.start()

    async def append(self, messages: Sequence[tuple[str, int, Message]]) -> None:
        """Send these (Kafka's topic name, partition, message), return when all are delivered."""
        if not messages:
            return
        producer = self._producer
        if producer is None:
            raise LogUnavailable("the log is closed")
        delivery = _Delivery(self, len(messages), asyncio.get_running_loop().create_future())
        for topic, partition, message in messages:
            while True:
                try:
                    producer.produce(
                        topic,
                        value=message.value,
                        key=message.key,
                        partition=partition,
                        on_delivery=delivery.delivered,
                        headers=headers_of(message.headers),
                    )
                    break
                except BufferError:
                    await asyncio.sleep(_QUEUE_FULL_PAUSE_SECONDS)
                except KafkaException as error:
                    self._renew_after_fatal(error, producer)
                    raise translated(error, f"append to {topic}") from error
        await delivery.future
        if delivery.failure is not None:
            failure = KafkaException(delivery.failure)
            self._renew_after_fatal(failure, producer)
            raise translated(failure, "append") from failure

    def finished(self, delivery: _Delivery) -> None:
        """Take note that all messages of an append are settled.  Called by the producer's thread."""
        with self._lock:
            self._done.append(delivery)
            first = len(self._done) == 1
        if first and self._loop is not None:
            with suppress(RuntimeError):  # the loop is gone, and with it everybody who waited
                self._loop.call_soon_threadsafe(self._answer)

    def close(self) -> None:
        """Deliver what is on its way, then end the thread.  Blocks, at most some seconds."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer.flush(_FLUSH_SECONDS)
        self._running = False
        if self._thread is not None:
            self._thread.join()

    def _answer(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        for delivery in done:
            if not delivery.future.done():
                delivery.future.set_result(None)

    def _renew_after_fatal(self, error: KafkaException, producer: Producer) -> None:
        """A producer that met a fatal error is of no use any more; the next append gets a new one."""
        found = error.args[0]
        if isinstance(found, KafkaError) and found.fatal() and self._producer is producer:
            self._retired.append(producer)
            self._producer = Producer(dict(self._config))

    def _serve(self) -> None:
        while self._running:
            while self._retired:
                # Whatever it still had failed with it; without this nobody would be told, and wait for ever.
                retired = self._retired.pop()
                retired.purge()
                retired.flush(_FLUSH_SECONDS)
            producer = self._producer
            if producer is None:
                threading.Event().wait(_QUEUE_FULL_PAUSE_SECONDS)  # closing: `flush` serves the callbacks
            else:
                producer.poll(0.1)
