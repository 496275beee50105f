"""The log on Kafka keeps the contract, on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from confluent_kafka.admin import AdminClient

from flowtide.log.kafka import KafkaLog
from flowtide.log.port import Log
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


def delete_topics(kafka_address: str, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_address})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    for future in admin.delete_topics(names).values():
        future.result(10)
