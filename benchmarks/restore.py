"""Measures how long a partition takes to come back: `python benchmarks/restore.py embedded|kafka [--live 100000]`.

One partition has so many live executions, each waiting in its second task, as the engine leaves them.  Printed as
JSON: seconds from joining the group until the state is handed over, until the processor can serve (its timers and
the names of its pieces are read), and until every execution was decoded, which a server does only when one is touched.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flowtide.engine import execution
from flowtide.engine.plan import Plan
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Log, Record, StateChange
from flowtide.log.port import Partition as LogPartition
from flowtide.log.topics import load_topics
from flowtide.model.commands import CreateExecution, ReportRunEnded, ReportRunStarted
from flowtide.model.identifiers import identifier_of
from flowtide.model.jobs import JOB_DECODER, RunTask
from flowtide.model.records import encode
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.processors.executions import GROUP, ExecutionsPartition
from flowtide.services.plugins import discover_plugins

FLOW = """
id: waiting
namespace: benchmarks
tasks:
  - id: first
    type: io.kestra.plugin.core.output.OutputValues
    values: {message: a value that later tasks may name}
  - id: second
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT10M
"""
_AT = datetime(2026, 1, 1, tzinfo=UTC)
_PORTION = 500  # executions in a commit
_WAIT = timedelta(seconds=1)


class _States:
    """Live executions, made by the processor itself."""

    def __init__(self) -> None:
        flow = parse_flow(FLOW, discover_plugins()).valid()
        self._plan = Plan(flow, tenant="main", revision=1)
        self.number = 0

    def plans(self, *_: object) -> Plan:
        """There is one flow."""
        return self._plan

    def pieces(self) -> list[StateChange]:
        """The pieces of the next execution, whose second task runs at a worker."""
        self.number += 1
        key = f"main/{identifier_of(self.number)}"
        partition = ExecutionsPartition(0, {}, self.plans)
        create = CreateExecution(at=_AT, namespace="benchmarks", flow_id="waiting", flow_revision=1)
        changes = {}
        commands: list[Any] = [create]
        while commands:
            value = encode(commands.pop(0))
            record = Record(
                topic="execution_commands", partition=0, offset=0, key=key, value=value, timestamp_ms=0
            )
            partition.handle(record, _AT, certain=True)
            messages, changed = partition.flush()
            changes.update({change.key: change for change in changed})
            for message in messages:
                if message.topic != "worker_jobs":
                    continue
                job = JOB_DECODER.decode(message.value or b"")
                assert isinstance(job, RunTask)
                run: dict[str, Any] = {
                    "at": _AT,
                    "run_id": job.run_id,
                    "attempt": job.attempt,
                    "worker_id": "worker",
                }
                commands.append(ReportRunStarted(**run))
                if job.task_id == "first":
                    commands.append(
                        ReportRunEnded(**run, state=State.SUCCESS, outputs={"values": {"message": "x"}})
                    )
        return list(changes.values())


async def fill(log: Log, live: int) -> int:
    """Bring the states of so many executions into partition 0; gives their size in bytes."""
    states = _States()
    size = 0
    consumer = await log.consumer(
        group=GROUP, topics=["execution_commands"], instance="one", state_topic="execution_state"
    )
    owned = 0
    while owned < log.partitions("execution_commands"):
        owned += len((await consumer.poll(maximum=1, timeout=_WAIT)).assigned)
    while states.number < live:
        changes = [change for _ in range(min(_PORTION, live - states.number)) for change in states.pieces()]
        size += sum(len(change.value or b"") for change in changes)
        await consumer.commit(positions={LogPartition("execution_commands", 0): 0}, changes=changes)
    await consumer.close()
    return size


async def restore(log: Log) -> dict[str, float]:
    """Join as a new member, and serve partition 0."""
    begun = time.perf_counter()
    consumer = await log.consumer(
        group=GROUP, topics=["execution_commands"], instance="two", state_topic="execution_state"
    )
    state: Mapping[str, bytes] = {}
    owned = 0
    while owned < log.partitions("execution_commands"):
        for assigned in (await consumer.poll(maximum=1, timeout=_WAIT)).assigned:
            owned += 1
            if assigned.partition.number == 0:
                state = assigned.state
    read = time.perf_counter()
    partition = ExecutionsPartition(0, dict(state), _States().plans)
    opened = time.perf_counter()
    live = partition.live
    pieces: dict[str, dict[str, bytes]] = defaultdict(dict)
    for name, value in state.items():
        key, _, piece = name.partition("|")
        pieces[key][piece] = value
    for each in pieces.values():
        execution.restore(each)
    decoded = time.perf_counter()
    await consumer.close()
    return {
        "live_executions": live,
        "pieces": len(state),
        "state_handed_over_seconds": round(read - begun, 2),
        "serving_seconds": round(opened - begun, 2),
        "all_decoded_seconds": round(decoded - begun, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


async def _measure(kind: str, live: int, kafka: str, folder: Path) -> dict[str, Any]:
    prefix = f"bench_{uuid.uuid4().hex[:8]}_"

    def opened() -> Log:
        if kind == "embedded":
            return EmbeddedLog(folder / "log.db", clock=time.time, partitions=4)
        from flowtide.log.kafka import KafkaLog

        return KafkaLog(
            {"bootstrap.servers": kafka}, topic_prefix=prefix, consumer_prefix=prefix, partitions=4
        )

    topics = [
        topic for name, topic in load_topics().items() if name in ("execution_commands", "execution_state")
    ]
    log = opened()
    await log.start()
    await log.ensure_topics(topics)
    size = await fill(log, live)
    await log.close()
    log = opened()  # as after a restart
    await log.start()
    await log.ensure_topics(topics)
    try:
        return {"log": kind, "state_bytes": size, **await restore(log)}
    finally:
        await log.close()
        if kind == "kafka":
            from confluent_kafka.admin import AdminClient

            names = [prefix + topic.name for topic in topics]
            admin = AdminClient({"bootstrap.servers": kafka})  # kept, or it is gone before its answers
            for future in admin.delete_topics(names).values():
                future.result(10)


def main() -> None:
    """Measure one adapter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", choices=["embedded", "kafka"])
    parser.add_argument("--live", type=int, default=100_000, help="executions in the partition")
    parser.add_argument("--kafka", default="127.0.0.1:9092", help="host:port of a broker")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_measure(options.log, options.live, options.kafka, Path(folder)))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
