"""The analytics app as a process on a real Kafka: events in, records of windows out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from flowtide.log.kafka import KafkaLog
from flowtide.log.port import Message
from flowtide.log.topics import load_topics
from flowtide.model.events import (
    ExecutionCreated,
    ExecutionEnded,
    ExecutionEvent,
    ExecutionStarted,
    TaskRunEnded,
    TaskRunRetrying,
)
from flowtide.model.records import Cause, encode
from flowtide.model.states import State
from flowtide.model.statistics import ExecutionStatistics

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(180)]
pytest.importorskip("faust", reason="needs the extra: pip install 'flowtide[analytics]'")

from flowtide.analytics.app import INTERNAL_TOPICS  # noqa: E402  # it stands on Faust

PARTITIONS = 3
EXECUTIONS = 3_000
#: Long ago, so that every window is over as soon as its events are read.
START = (datetime.now(UTC) - timedelta(hours=1)).replace(second=0, microsecond=0)
CAUSE = Cause(command="CreateExecution")


@pytest.fixture
async def prefix(kafka_address: str) -> AsyncIterator[str]:
    name = f"test_analytics_{uuid.uuid4().hex[:12]}_"
    yield name
    await asyncio.to_thread(_delete_topics, kafka_address, name)


@pytest.fixture
async def log(kafka_address: str, prefix: str) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(
        {"bootstrap.servers": kafka_address},
        topic_prefix=prefix,
        consumer_prefix=prefix,
        partitions=PARTITIONS,
    )
    await log.start()
    topics = load_topics()
    await log.ensure_topics([topics["execution_events"], topics["execution_statistics"]])
    yield log
    await log.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_windows_come_out_right(
    log: KafkaLog, kafka_address: str, prefix: str, tmp_path: Path, how: signal.Signals
) -> None:
    """Events in all partitions, some of them twice, are counted once each, across a stop in the middle of the work;
    after a kill nothing is missing, at most a batch is counted twice. What was rolled back is not counted at all."""
    await _roll_back(kafka_address, prefix)
    ids = [f"e{number}" for number in range(EXECUTIONS)]
    await log.append([_message(event) for each in ids for event in _first_half(each)])
    await log.append([_message(event) for each in ids for event in _second_half(each)])
    await log.append([_message(event) for each in ids[:20] for event in _second_half(each)])
    settings = _settings(tmp_path, kafka_address, prefix)
    async with _analytics(settings) as process:
        await _has_begun(log)
        process.send_signal(how)
        assert await process.wait() == (0 if how is signal.SIGTERM else -how)
    async with _analytics(settings) as process:
        first, second = await _windows(log, [START, START + timedelta(minutes=10)])
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    assert (first.tenant_id, first.namespace, first.flow_id) == ("main", "company.team", "hello")
    assert (first.ended, first.durations, first.retries) == ({}, None, 0)
    assert second.durations is not None
    assert second.durations.max_ms == 601_000
    assert (second.created, second.started) == (0, 0)
    counted = [
        first.created,
        first.started,
        second.retries,
        second.ended[State.SUCCESS],
        second.task_runs_ended[State.SUCCESS],
        second.durations.count,
        second.durations.sum_ms // 601_000,
    ]
    if how is signal.SIGTERM:
        assert counted == [EXECUTIONS] * len(counted)
    else:
        assert all(EXECUTIONS <= count <= 2 * EXECUTIONS for count in counted)


def _first_half(execution: str) -> list[ExecutionEvent]:
    common: dict[str, Any] = {"tenant_id": "main", "execution_id": execution, "cause": CAUSE}
    return [
        ExecutionCreated(
            number=0, at=START, namespace="company.team", flow_id="hello", flow_revision=1, **common
        ),
        ExecutionStarted(number=1, at=START + timedelta(seconds=1), **common),
    ]


def _second_half(execution: str) -> list[ExecutionEvent]:
    common: dict[str, Any] = {"tenant_id": "main", "execution_id": execution, "cause": CAUSE}
    later = START + timedelta(minutes=10)
    return [
        TaskRunRetrying(number=2, at=later, run_id="r", attempt=1, due=later, **common),
        TaskRunEnded(number=3, at=later, run_id="r", state=State.SUCCESS, **common),
        ExecutionEnded(number=4, at=later + timedelta(seconds=1), state=State.SUCCESS, **common),
    ]


def _message(event: ExecutionEvent) -> Message:
    key = f"{event.tenant_id}/{event.execution_id}"
    return Message(topic="execution_events", key=key, value=encode(event))


async def _roll_back(kafka_address: str, prefix: str) -> None:
    """Write events in a transaction, and abort it."""

    def write() -> None:
        producer = Producer({"bootstrap.servers": kafka_address, "transactional.id": prefix})
        producer.init_transactions()
        producer.begin_transaction()
        for number in range(10):
            for event in _first_half(f"aborted{number}"):
                message = _message(event)
                producer.produce(f"{prefix}execution_events", message.value, message.key)
        producer.flush()
        producer.abort_transaction()

    await asyncio.to_thread(write)


def _settings(folder: Path, kafka_address: str, prefix: str) -> Path:
    file = folder / "settings.yaml"
    file.write_text(
        f"""
flowtide:
  queue: {{type: kafka}}
  repository: {{type: elasticsearch}}
  elasticsearch: {{client: {{http-hosts: ["http://127.0.0.1:9200"]}}}}
  kafka:
    client: {{properties: {{bootstrap.servers: "{kafka_address}"}}}}
    defaults:
      topic-prefix: {prefix}
      consumer-prefix: {prefix}
      topic: {{partitions: {PARTITIONS}}}
""",
        encoding="utf-8",
    )
    return file


@asynccontextmanager
async def _analytics(settings: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flowtide.analytics", "-c", str(settings), env={**os.environ}
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _has_begun(log: KafkaLog) -> None:
    """Wait until the app has counted something and is in the middle of its work."""
    await log.ensure_topics(INTERNAL_TOPICS)
    reader = await log.reader("execution_statistics_parts", "beginning")
    async with asyncio.timeout(60):
        while not await reader.poll(maximum=1, timeout=timedelta(seconds=1)):
            pass
    await reader.close()


async def _windows(log: KafkaLog, starts: list[datetime]) -> list[ExecutionStatistics]:
    """The records of these windows; one that is there twice is the same both times."""
    found: dict[datetime, ExecutionStatistics] = {}
    reader = await log.reader("execution_statistics", "beginning")
    async with asyncio.timeout(90):
        while not found.keys() >= set(starts):
            for record in await reader.poll(maximum=100, timeout=timedelta(seconds=1)):
                assert record.key == "main/company.team/hello"
                window = msgspec.json.decode(record.value or b"", type=ExecutionStatistics)
                assert found.setdefault(window.window_start, window) == window
    await reader.close()
    return [found[start] for start in starts]


def _delete_topics(kafka_address: str, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_address})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    for future in admin.delete_topics(names).values():
        future.result(10)
