"""Polls of the Kafka adapter around a client that fails for a moment; no broker is needed to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from flowtide.errors import LogUnavailable
from flowtide.log.kafka import consumer as consuming
from flowtide.log.kafka import reader as reading
from flowtide.log.kafka.cluster import Cluster
from flowtide.log.port import Partition, Polled


class FailingOnce:
    """A client whose first poll fails as it does when no broker can be reached."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.polls = 0

    def poll(self, timeout: float) -> None:
        self.polls += 1
        if self.polls == 1:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    def consume(self, number: int, timeout: float) -> list[Any]:
        return []

    def assign(self, partitions: Sequence[Any]) -> None:
        pass

    def subscribe(self, topics: Sequence[str], **callbacks: Any) -> None:
        pass

    def close(self) -> None:
        pass


class OneTopic:
    """What is asked of the cluster."""

    def name(self, topic: str) -> str:
        return topic

    def partitions(self, topic: str) -> int:
        return 1

    def offsets(self, partitions: Sequence[Partition], end: str, **_: Any) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)


CLUSTER = cast("Cluster", OneTopic())


async def test_a_reader_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that failed is over; the next one asks Kafka again, as followers that keep their reader need it."""
    monkeypatch.setattr(reading, "KafkaClient", FailingOnce)
    reader = reading.KafkaReader(cluster=CLUSTER, topic="logs", config={}, forget=lambda _: None)
    await reader.assign({0: "end"})
    with pytest.raises(LogUnavailable):
        await reader.poll(maximum=1, timeout=timedelta(0))
    assert await reader.poll(maximum=1, timeout=timedelta(0)) == []
    await reader.close()


async def test_a_consumer_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a member of a group."""
    monkeypatch.setattr(consuming, "KafkaClient", FailingOnce)
    consumer = consuming.KafkaConsumer(
        cluster=CLUSTER,
        address=lambda _: [],
        group="g",
        group_id="g",
        instance="i",
        topics=["logs"],
        consumer_config={},
        producer_configs=[],
        changelog=None,
        touched={},
        forget=lambda _: None,
    )
    await consumer.open()
    with pytest.raises(LogUnavailable):
        await consumer.poll(maximum=1, timeout=timedelta(0))
    assert await consumer.poll(maximum=1, timeout=timedelta(0)) == Polled()
    await consumer.close()
