"""The key-value store and namespace files keep their contract on a real Kafka."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from pathlib import Path

import pytest

from flowtide.log.kafka import KafkaLog
from flowtide.log.topics import load_topics
from flowtide.testing.contracts.platform import KeyValuesContract, NamespaceFilesContract
from flowtide.testing.contracts.platform_servers import open_servers
from tests.contracts.test_log_kafka import delete_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

TOPICS = [topic for name, topic in load_topics().items() if name.startswith("res") or name == "replies"]


async def test_every_claim_holds_on_kafka(kafka_address: str, tmp_path: Path) -> None:
    """The contract, without its lists of values: joining a group takes seconds, so the servers are started once, and
    each claim has a tenant of its own.
    """
    prefix = f"test_platform_{uuid.uuid4().hex[:12]}_"
    log = KafkaLog(
        {"bootstrap.servers": kafka_address}, topic_prefix=prefix, consumer_prefix=prefix, partitions=2
    )
    await log.start()
    await log.ensure_topics(TOPICS)
    held = 0
    async with open_servers(log, tmp_path / "files") as servers_of:
        for contract in (KeyValuesContract(), NamespaceFilesContract()):
            for name, claim in inspect.getmembers(contract, inspect.iscoroutinefunction):
                wanted = set(inspect.signature(claim).parameters)
                if not wanted <= {"servers", "tmp_path"}:
                    continue
                tenant = f"t{held}"
                folder = tmp_path / tenant
                await asyncio.to_thread(folder.mkdir)
                given = {"servers": servers_of(tenant), "tmp_path": folder}
                try:
                    await claim(**{each: given[each] for each in wanted})
                except BaseException as error:
                    error.add_note(f"in {name}")
                    raise
                held += 1
    await log.close()
    await asyncio.to_thread(delete_topics, kafka_address, prefix)
    assert held >= 15
