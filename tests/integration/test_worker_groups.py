"""Worker groups on a real log: the topic of a group is made by whoever needs it first, and jobs stay in the group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from flowtide.engine.plan import Plan
from flowtide.errors import UnknownTopic
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Consumer, Log, Message
from flowtide.log.topics import load_topics
from flowtide.model.commands import CreateExecution, ReportRunStarted
from flowtide.model.events import EVENT_DECODER, ExecutionEnded
from flowtide.model.jobs import JOB_DECODER, RunTask
from flowtide.model.records import encode
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.processors.executions import ExecutionsPartition, executions_runtime
from flowtide.processors.job_topics import jobs_topic, topic_of_group
from flowtide.processors.runtime import Partition, Runtime
from tests.language import REGISTRY

FLOW = """
id: flow
namespace: test
inputs: [{id: group, type: STRING, defaults: gpu}]
tasks: [{id: special, type: Say, workerGroup: {key: "{{ inputs.group }}", fallback: FALLBACK}}]
"""
_TOPICS = list(load_topics().values())
_POLL = timedelta(milliseconds=200)


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow])])
async def logs(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Log, Log]]:
    """The log of an executor and that of a worker, which on Kafka are two clients that know nothing of each other."""
    if request.param == "embedded":
        log = EmbeddedLog(None, clock=lambda: now().timestamp(), partitions=2)
        await log.start()
        await log.ensure_topics(_TOPICS)
        yield log, log
        await log.close()
        return
    from confluent_kafka.admin import AdminClient

    from flowtide.log.kafka import KafkaLog

    address = request.getfixturevalue("kafka_address")
    prefix = f"groups{uuid4().hex[:8]}_"
    both = [
        KafkaLog({"bootstrap.servers": address}, topic_prefix=prefix, consumer_prefix=prefix, partitions=2)
        for _ in range(2)
    ]
    try:
        for each in both:
            await each.start()
            await each.ensure_topics(_TOPICS)
        yield both[0], both[1]
    finally:
        for each in both:
            await each.close()
        admin = AdminClient({"bootstrap.servers": address})
        made = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
        for deleted in admin.delete_topics(made).values():
            await asyncio.to_thread(deleted.result)


def executor(log: Log, fallback: str, has_workers: Callable[[str], bool]) -> Runtime:
    """An executor that knows the flow above."""
    flow = parse_flow(FLOW.replace("FALLBACK", fallback), REGISTRY).valid()
    plan = Plan(flow, tenant="main", revision=1)
    return executions_runtime(
        log, instance="executor", plans=lambda *_: plan, clock=now, has_workers=has_workers
    )


async def next_job(worker: Consumer) -> RunTask:
    """The next job of a worker, whose place is kept."""
    while True:
        polled = await worker.poll(maximum=1, timeout=_POLL)
        for record in polled.records:
            job = JOB_DECODER.decode(record.value or b"")
            assert isinstance(job, RunTask)
            return job


async def test_a_job_waits_on_the_topic_of_its_group_and_comes_back_to_it_when_its_worker_dies(
    logs: tuple[Log, Log],
) -> None:
    """WG-04, WG-08 (WAIT), WG-11: the executor makes the topic before anybody works in the group."""
    log, of_worker = logs
    runtime = executor(log, "WAIT", lambda group: False)
    running = asyncio.create_task(runtime.run())
    try:
        create = CreateExecution(at=now(), namespace="test", flow_id="flow")
        await log.append([Message(topic="execution_commands", key="main/e1", value=encode(create))])
        while not await has_record(log, "worker_jobs_gpu"):  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)
        await of_worker.ensure_topics([topic_of_group("gpu")])
        worker = await of_worker.consumer(group="worker-gpu", topics=[jobs_topic("gpu")], instance="w1")
        job = await next_job(worker)
        assert job.task_id == "special"
        started = ReportRunStarted(at=now(), run_id=job.run_id, attempt=job.attempt, worker_id="w1")
        await log.append([Message(topic="execution_commands", key="main/e1", value=encode(started))])

        def lose(partition: Partition, at: datetime) -> None:
            assert isinstance(partition, ExecutionsPartition)
            partition.lose_workers({"w1"}, at)

        runtime.request(lose)
        again = await next_job(worker)
        assert (again.run_id, again.task_id) == (job.run_id, "special")
        assert not await has_record(log, "worker_jobs")
        await worker.close()
    finally:
        runtime.stop()
        await running


async def test_without_workers_in_the_group_the_execution_fails_or_is_killed(logs: tuple[Log, Log]) -> None:
    """WG-08: FAIL and CANCEL are decided by who works in the group, and no topic is made for nobody."""
    log, _ = logs
    for fallback, expected in (("FAIL", State.FAILED), ("CANCEL", State.KILLED)):
        runtime = executor(log, fallback, lambda group: False)
        running = asyncio.create_task(runtime.run())
        try:
            key = f"main/{fallback}"
            create = CreateExecution(at=now(), namespace="test", flow_id="flow")
            await log.append([Message(topic="execution_commands", key=key, value=encode(create))])
            assert await end_of(log, key) is expected
        finally:
            runtime.stop()
            await running
    with pytest.raises(UnknownTopic):
        log.partitions("worker_jobs_gpu")


async def has_record(log: Log, topic: str) -> bool:
    """Whether something was ever written to a topic, which may not be there yet."""
    try:
        return any((await log.end_offsets(topic)).values())
    except UnknownTopic:
        return False


async def end_of(log: Log, key: str) -> State:
    """The final state of an execution."""
    reader = await log.reader("execution_events", "beginning")
    try:
        while True:
            for record in await reader.poll(maximum=100, timeout=_POLL):
                with suppress(msgspec.DecodeError):
                    event = EVENT_DECODER.decode(record.value or b"")
                    if record.key == key and isinstance(event, ExecutionEnded):
                        return event.state
    finally:
        await reader.close()
