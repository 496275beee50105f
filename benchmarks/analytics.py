"""Measures how many events a second the analytics app digests, and prints JSON.

`python benchmarks/analytics.py [--kafka HOST:PORT] [--executions N] [--flows N]`: writes a backlog of executions with
ten events each, starts the app as a process of its own on 16 partitions, and takes the time from its first part to
its last one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from flowtide.analytics.app import INTERNAL_TOPICS
from flowtide.analytics.records import PART_DECODER, Part
from flowtide.log.kafka import KafkaLog
from flowtide.log.port import Message
from flowtide.log.topics import load_topics
from flowtide.model.events import (
    ExecutionClosed,
    ExecutionCreated,
    ExecutionEnded,
    ExecutionEvent,
    ExecutionStarted,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunStarted,
)
from flowtide.model.records import Cause, encode
from flowtide.model.states import State

_PARTITIONS = 16
_CAUSE = Cause(command="CreateExecution")
_SETTINGS = """
flowtide:
  queue: {{type: kafka}}
  repository: {{type: elasticsearch}}
  elasticsearch: {{client: {{http-hosts: ["http://127.0.0.1:9200"]}}}}
  kafka:
    client: {{properties: {{bootstrap.servers: "{kafka}"}}}}
    defaults: {{topic-prefix: {prefix}, consumer-prefix: {prefix}, topic: {{partitions: {partitions}}}}}
"""


def events_of(execution: str, flow: str, begun: datetime) -> list[ExecutionEvent]:
    """What an execution of two tasks leaves on the log: ten events."""
    common: dict[str, Any] = {"tenant_id": "main", "execution_id": execution, "cause": _CAUSE}
    events: list[ExecutionEvent] = [
        ExecutionCreated(
            number=0, at=begun, namespace="company.team", flow_id=flow, flow_revision=1, **common
        ),
        ExecutionStarted(number=1, at=begun, **common),
    ]
    for task in ("one", "two"):
        number = len(events)
        run: dict[str, Any] = {"run_id": f"{execution}-{task}", "at": begun, **common}
        events += [
            TaskRunCreated(number=number, task_id=task, state=State.SUBMITTED, **run),
            TaskRunStarted(number=number + 1, attempt=0, worker_id="worker", **run),
            TaskRunEnded(number=number + 2, state=State.SUCCESS, outputs={"value": "x" * 100}, **run),
        ]
    over = begun + timedelta(seconds=1)
    events.append(ExecutionEnded(number=8, at=over, state=State.SUCCESS, closed=False, **common))
    events.append(ExecutionClosed(number=9, at=over, **common))
    return events


async def measure(kafka: str, executions: int, flows: int) -> dict[str, Any]:
    """Write the backlog, have it digested, and remove everything again."""
    prefix = f"bench_analytics_{uuid.uuid4().hex[:8]}_"
    log = KafkaLog(
        {"bootstrap.servers": kafka}, topic_prefix=prefix, consumer_prefix=prefix, partitions=_PARTITIONS
    )
    await log.start()
    topics = load_topics()
    await log.ensure_topics([topics["execution_events"], topics["execution_statistics"], *INTERNAL_TOPICS])
    start = datetime.now(UTC) - timedelta(hours=1)
    count = 0
    for first in range(0, executions, 500):
        messages = [
            Message(topic="execution_events", key=f"main/e{number}", value=encode(event))
            for number in range(first, min(first + 500, executions))
            for event in events_of(
                f"e{number}", f"flow{number % flows}", start + timedelta(milliseconds=number)
            )
        ]
        count += len(messages)
        await log.append(messages)
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "settings.yaml"
            file.write_text(_SETTINGS.format(kafka=kafka, prefix=prefix, partitions=_PARTITIONS))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "flowtide.analytics", "-c", str(file), env=dict(os.environ)
            )
            try:
                seconds, parts = await _digested(log, executions)
            finally:
                process.terminate()
                await process.wait()
    finally:
        await log.close()
        admin = AdminClient({"bootstrap.servers": kafka})
        names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
        for future in admin.delete_topics(names).values():
            future.result(10)
    return {
        "events": count,
        "executions": executions,
        "flows": flows,
        "partitions": _PARTITIONS,
        "parts": parts,
        "seconds": round(seconds, 2),
        "events_per_second": round(count / seconds),
    }


async def _digested(log: KafkaLog, executions: int) -> tuple[float, int]:
    """Seconds from the first part to the one with the last end, and the number of parts."""
    reader = await log.reader("execution_statistics_parts", "beginning")
    begun = 0.0
    ended = parts = 0
    async with asyncio.timeout(500):
        while ended < executions:
            for record in await reader.poll(maximum=1_000, timeout=timedelta(milliseconds=100)):
                begun = begun or time.perf_counter()
                part = PART_DECODER.decode(record.value or b"")
                if isinstance(part, Part):
                    parts += 1
                    ended += sum(part.tally.ended.values())
    seconds = time.perf_counter() - begun
    await reader.close()
    return seconds, parts


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", default="127.0.0.1:9092")
    parser.add_argument("--executions", type=int, default=5_000)
    parser.add_argument("--flows", type=int, default=20)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.kafka, given.executions, given.flows)), indent=2))


if __name__ == "__main__":
    main()
