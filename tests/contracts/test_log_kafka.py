"""The log on Kafka keeps the contract, on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from confluent_kafka.admin import AdminClient

from flowtide.log.kafka import KafkaLog
from flowtide.log.port import Log, Message, Record
from flowtide.testing.contracts.log import MESSAGE_LIMIT_BYTES, PARTITIONS, TOPICS, LogContract

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


class TestOnKafka(LogContract):
    @pytest.fixture
    async def log(self, kafka_address: str) -> AsyncIterator[Log]:
        prefix = f"test_log_{uuid.uuid4().hex[:12]}_"
        log = KafkaLog(
            {"bootstrap.servers": kafka_address},
            topic_prefix=prefix,
            consumer_prefix=prefix,
            partitions=PARTITIONS,
            message_limit_bytes=MESSAGE_LIMIT_BYTES,
        )
        await log.start()
        await log.ensure_topics(TOPICS)
        yield log
        await log.close()
        await asyncio.to_thread(delete_topics, kafka_address, prefix)


async def test_a_topic_may_have_a_name_of_its_own(kafka_address: str) -> None:
    """KAFKA-14: it is created, written and read under that name, by a group and by a reader."""
    prefix = f"test_log_{uuid.uuid4().hex[:12]}_"
    topic = TOPICS[0]
    log = KafkaLog(
        {"bootstrap.servers": kafka_address},
        topic_prefix=prefix,
        consumer_prefix=prefix,
        partitions=PARTITIONS,
        topic_names={topic.name: f"{prefix}of-its-own"},
    )
    await log.start()
    try:
        await log.ensure_topics([topic])
        await log.append([Message(topic=topic.name, key="main/a", value=b"1")])
        admin = AdminClient({"bootstrap.servers": kafka_address})
        known = (await asyncio.to_thread(admin.list_topics, timeout=10)).topics
        assert [name for name in known if name.startswith(prefix)] == [f"{prefix}of-its-own"]
        reader = await log.reader(topic.name, "beginning")
        found = list(await reader.poll(maximum=1, timeout=timedelta(seconds=30)))
        assert [(record.topic, record.value) for record in found] == [(topic.name, b"1")]
        consumer = await log.consumer(group="own", topics=[topic.name], instance="one")
        records: list[Record] = []
        while not records:
            records += (await consumer.poll(maximum=1, timeout=timedelta(seconds=5))).records
        assert [(record.topic, record.value) for record in records] == [(topic.name, b"1")]
        await consumer.close()
        await reader.close()
    finally:
        await log.close()
        await asyncio.to_thread(delete_topics, kafka_address, prefix)


def delete_topics(kafka_address: str, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_address})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    for future in admin.delete_topics(names).values():
        future.result(10)
