"""Appends around a producer that meets a fatal error; no broker is needed to tell."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from flowtide.errors import LogUnavailable
from flowtide.log.kafka import appender as appending
from flowtide.log.kafka.appender import Appender
from flowtide.log.port import Message

Delivered = Callable[[KafkaError | None, object], None]


class Fragile:
    """A producer that keeps what it gets, until `fatal` is sent: then it works no more."""

    built = 0

    def __init__(self, config: Mapping[str, Any]) -> None:
        Fragile.built += 1
        self.waiting: list[Delivered] = []
        self.kept = threading.Event()

    def produce(self, topic: str, *, value: bytes | None, on_delivery: Delivered, **_: Any) -> None:
        if value == b"fatal":
            raise KafkaException(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "made up", True))
        self.waiting.append(on_delivery)

    def poll(self, timeout: float) -> None:
        self.kept.wait(0.001)

    def purge(self) -> None:
        pass

    def flush(self, timeout: float) -> None:
        waiting, self.waiting = self.waiting, []
        for delivered in waiting:
            delivered(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "made up", True), None)


async def append(appender: Appender, value: bytes) -> None:
    await appender.append([("t", 0, Message(topic="t", key="a", value=value))])


async def test_appends_of_a_producer_that_broke_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever had an append on its way when another one met the fatal error does not wait for ever."""
    monkeypatch.setattr(appending, "Producer", Fragile)
    monkeypatch.setattr(Fragile, "built", 0)
    appender = Appender({})
    appender.start()
    first = asyncio.create_task(append(appender, b"on its way"))
    await asyncio.sleep(0)
    with pytest.raises(LogUnavailable):
        await append(appender, b"fatal")
    async with asyncio.timeout(3):
        with pytest.raises(LogUnavailable):
            await first
    assert Fragile.built == 2  # one error costs one producer, however many appends it met
    await asyncio.to_thread(appender.close)
