"""Measures a log and prints JSON: `python benchmarks/log.py embedded|memory|kafka [--kafka HOST:PORT]`.

What a commit costs one after the other (p50, p95), how long a record takes from append to a waiting consumer and to
a waiting reader, how many records a second go through a fold with state in batches, and what appends cost when many
run at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Log, Message, Partition, StateChange
from flowtide.log.topics import Topic

VALUE = b"x" * 300
WAIT = timedelta(seconds=1)


def _topic(name: str, *, compacted: bool = False) -> Topic:
    return Topic(
        name=name,
        description="of a benchmark",
        key="{tenant}/{thing}",
        partitions="default",
        cleanup="compact" if compacted else "delete",
        retention=None if compacted else timedelta(hours=1),
        schema="none",
    )


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        name: round(ordered[int(len(ordered) * share)] * 1000, 3)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


async def _owned(consumer: Any, count: int) -> None:
    have = 0
    while have < count:
        have += len((await consumer.poll(maximum=1, timeout=WAIT)).assigned)


async def commits(log: Log, count: int = 500) -> dict[str, float]:
    """A commit of three records, two pieces of state and a position, one after the other."""
    consumer = await log.consumer(group="commits", topics=["input"], instance="one", state_topic="state")
    await _owned(consumer, log.partitions("input"))
    positions = {Partition("input", 0): 0}
    taken: list[float] = []
    for number in range(count):
        begin = time.perf_counter()
        await consumer.commit(
            positions=positions,
            messages=[Message(topic="output", key=f"t/{number}", value=VALUE)] * 3,
            changes=[StateChange(partition=0, key=f"k{number % 50}/{i}", value=VALUE) for i in range(2)],
        )
        taken.append(time.perf_counter() - begin)
    await consumer.close()
    return _milliseconds(taken)


async def to_consumer(log: Log, count: int = 300) -> dict[str, float]:
    """From the call of append to the record in a waiting consumer's hands."""
    await log.seek_group("latency", ["input"], "end")
    consumer = await log.consumer(group="latency", topics=["input"], instance="one")
    await _owned(consumer, log.partitions("input"))
    taken: list[float] = []
    for _ in range(count):
        polling = asyncio.create_task(consumer.poll(maximum=100, timeout=WAIT))
        await asyncio.sleep(0.002)
        begin = time.perf_counter()
        append = asyncio.create_task(log.append([Message(topic="input", key="t/a", value=VALUE)]))
        while not (await polling).records:
            polling = asyncio.create_task(consumer.poll(maximum=100, timeout=WAIT))
        taken.append(time.perf_counter() - begin)
        await append
    await consumer.close()
    return _milliseconds(taken)


async def fold(log: Log, count: int = 40_000, batch: int = 2000) -> dict[str, float]:
    """Records a second through appends, and through a fold that writes one record and one piece of state each."""
    await log.seek_group("fold", ["input"], "end")
    begin = time.perf_counter()
    for first in range(0, count, batch):
        await log.append(
            [Message(topic="input", key=f"t/{n % 500}", value=VALUE) for n in range(first, first + batch)]
        )
    appended = time.perf_counter() - begin
    consumer = await log.consumer(group="fold", topics=["input"], instance="one", state_topic="state")
    await _owned(consumer, log.partitions("input"))
    begin = time.perf_counter()
    done = transactions = 0
    while done < count:
        records = (await consumer.poll(maximum=batch, timeout=WAIT)).records
        positions = {Partition("input", record.partition): record.offset + 1 for record in records}
        await consumer.commit(
            positions=positions,
            messages=[
                Message(topic="output", key=record.key, value=VALUE, partition=record.partition)
                for record in records
            ],
            changes=[
                StateChange(partition=record.partition, key=record.key, value=VALUE) for record in records
            ],
        )
        done += len(records)
        transactions += 1
    folded = time.perf_counter() - begin
    await consumer.close()
    return {
        "append_records_per_second": round(count / appended),
        "fold_records_per_second": round(count / folded),
        "fold_batch": round(count / transactions),
    }


async def concurrent(log: Log, callers: int = 50, each: int = 40) -> dict[str, float]:
    """Single appends by many callers at once."""
    taken: list[float] = []

    async def caller(number: int) -> None:
        for _ in range(each):
            begin = time.perf_counter()
            await log.append([Message(topic="output", key=f"t/{number}", value=VALUE)])
            taken.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    return {
        **_milliseconds(taken),
        "appends_per_second": round(callers * each / (time.perf_counter() - begin)),
    }


async def _measure(log: Log) -> dict[str, Any]:
    await log.start()
    await log.ensure_topics([_topic("input"), _topic("output"), _topic("state", compacted=True)])
    measures: dict[str, Callable[[Log], Coroutine[Any, Any, dict[str, float]]]] = {
        "commit_ms": commits,
        "append_to_consumer_ms": to_consumer,
        "batches": fold,
        "concurrent_appends": concurrent,
    }
    found = {name: await work(log) for name, work in measures.items()}
    await log.close()
    return found


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", choices=["embedded", "memory", "kafka"])
    parser.add_argument("--kafka", default="127.0.0.1:9092", help="host:port of a broker")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.log == "kafka":
            from flowtide.log.kafka import KafkaLog

            prefix = f"bench_{uuid.uuid4().hex[:8]}_"
            servers = {"bootstrap.servers": options.kafka}
            log: Log = KafkaLog(servers, topic_prefix=prefix, consumer_prefix=prefix, partitions=4)
        else:
            path = Path(folder) / "log.db" if options.log == "embedded" else None
            log = EmbeddedLog(path, clock=time.time)
        found = asyncio.run(_measure(log))
        if options.log == "kafka":
            from confluent_kafka.admin import AdminClient

            admin = AdminClient(servers)
            names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
            for future in admin.delete_topics(names).values():
                future.result(10)
    print(json.dumps({"log": options.log, **found}, indent=2))


if __name__ == "__main__":
    _main()
