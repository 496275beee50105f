"""Garbage on every topic: it is put aside with a reason or passed over, and no partition stops."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from flowtide.log.port import Log, Message
from flowtide.log.topics import load_topics
from flowtide.model.dead_letters import DEAD_LETTER_DECODER
from flowtide.testing.servers import ALL, Api, Server, Shape, read_all
from tests.integration.survival import complete

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

VALUES: tuple[bytes | None, ...] = (
    None,  # not the last one: on compacted topics only the last value of a key is sure to stay
    bytes(range(256)),
    b"",
    b"null",
    b"{}",
    b"[]",
    b"7",
    b'"text"',
    b'{"type": "NoSuchThing"}',
    b'{"type": 7}',
    b'{"type": "CreateExecution"}',
    b'{"type": "ReportRunEnded", "runId": 5}',
    20_000 * b"[",
    b'{"a":' * 20_000,
    b'{"id": "\xff"}',
)
KEYS = ("garbage", "main/garbage", "a/b/c/d/e/f", "\x00", "|", "main/é/ü|x")

# Who reads a topic as a group, so that what it cannot read must be among the dead letters.
GROUPS = {
    "execution_commands": "executor",
    "execution_events": "indexer",
    "flow_commands": "flows",
    "logs": "indexer",
    "metrics": "indexer",
    "resource_commands": "resources",
    "resources": "indexer",
    "services": "indexer",
    "trigger_commands": "triggers",
    "trigger_events": "indexer",
    "worker_jobs": "worker",
}

FLOW = """
id: {id}
namespace: bad.records
inputs:
  - id: number
    type: INT
tasks:
  - id: loop
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, 2]
    tasks:
      - id: say
        type: io.kestra.plugin.core.debug.Return
        format: "{{{{ inputs.number }}}}"
"""


async def test_garbage_stops_nothing(shape: Shape) -> None:
    """Before, while and after garbage arrives on all topics, executions end; what no consumer can read is put aside."""
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(FLOW.format(id="before"))
            await _runs(api, "before")
            if shape.name == "kafka":
                log = await shape.open_log()
                try:
                    await _spoil(log)
                    await _put_aside(log)
                finally:
                    await log.close()
            await _runs(api, "before")
        # The embedded log belongs to one process, so it is spoilt while that rests; Kafka's is read anew.
        assert await server.stop() == 0
        if shape.name == "embedded":
            log = await shape.open_log()
            try:
                await _spoil(log)
            finally:
                await log.close()
        await server.start()
        async with Api(server.port) as api:
            await _runs(api, "before")
            await api.must_save(FLOW.format(id="after"))
            await _runs(api, "after")
        assert await server.stop() == 0
    log = await shape.open_log()
    try:
        await _put_aside(log)
    finally:
        await log.close()


async def _runs(api: Api, flow: str) -> None:
    """Executions on all partitions end, and the index gets them with their task runs."""
    answers = await asyncio.gather(*(api.start("bad.records", flow, {"number": str(n)}) for n in range(12)))
    for answer in answers:
        assert answer.status == 200, answer
        execution = await complete(api, answer.body["id"], 60)
        assert execution["state"]["current"] == "SUCCESS", execution
        assert len(execution["taskRunList"]) == 3, execution


async def _spoil(log: Log) -> None:
    for topic in load_topics().values():
        if topic.name == "dead_letters":
            continue
        try:
            partitions = log.partitions(topic.name)
        except Exception:  # noqa: BLE001, S112, RUF100  # a topic that is a table in the embedded log
            continue
        messages = [
            Message(topic=topic.name, key=key, value=value, partition=partition)
            for partition in range(partitions)
            for key in KEYS
            for value in VALUES
        ]
        await log.append(messages)


async def _put_aside(log: Log, patience_seconds: float = 40.0) -> None:
    """Each group has put aside at least the plainest garbage of its topics, from every partition, with a reason."""
    ends = time.monotonic() + patience_seconds
    while True:
        letters = [
            DEAD_LETTER_DECODER.decode(record.value or b"") for record in await read_all(log, "dead_letters")
        ]
        found = Counter((letter.topic, letter.group) for letter in letters)
        missing = {topic: found for topic, group in GROUPS.items() if not found[topic, group]}
        if not missing or time.monotonic() > ends:
            break
        await asyncio.sleep(0.5)
    assert not missing, found
    assert all(letter.reason for letter in letters)
    for topic in GROUPS:
        places = {letter.partition for letter in letters if letter.topic == topic}
        assert places == set(range(log.partitions(topic))), topic
    assert not [letter.reason for letter in letters if "Traceback" in letter.reason]
